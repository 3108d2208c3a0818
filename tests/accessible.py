"""What can be told of a page's accessibility without a person: names, headings, references, focus, contrast."""

from __future__ import annotations

from itertools import pairwise

from playwright.sync_api import Page

CONTROLS = frozenset(
    [
        "button",
        "checkbox",
        "combobox",
        "link",
        "radio",
        "searchbox",
        "slider",
        "spinbutton",
        "textbox",
        "DisclosureTriangle",
    ]
)


def require_names(page: Page) -> None:
    """Make sure that every control, region and list has a name, as Chromium computes it for a screen reader."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node["name"]["value"].strip())
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in CONTROLS | {"region", "form", "search", "table"}
    }
    assert len(named) > 10
    assert [role for role, name in named if not name] == []


def require_outline(page: Page) -> None:
    """Make sure that there is one heading of the first level, and that none of a level is left out on the way down."""
    levels = page.evaluate(
        """[...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter((each) => each.checkVisibility())
        .map((each) => Number(each.tagName[1]))"""
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def require_references(page: Page) -> None:
    """Make sure that no id stands twice, and that what is referred to is there."""
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(({id}) => id)")
    assert len(ids) == len(set(ids))
    for name in ("aria-controls", "aria-labelledby", "aria-describedby", "for"):
        told = page.evaluate(f"[...document.querySelectorAll('[{name}]')].map((each) => each.getAttribute('{name}'))")
        assert {id for each in told for id in each.split()} <= set(ids), name


def require_tab_order(page: Page) -> None:
    """Make sure that Tab goes through every control in the order of the page, and shows where it is."""
    expected = page.evaluate("""() => [...document.querySelectorAll(
        "a, input, select, button, summary, [tabindex='0']")]
      .filter((each) => each.checkVisibility() && !each.disabled && (each.type !== "radio" || each.checked))
      .map((each, number) => (each.dataset.order = String(number)))""")
    assert len(expected) > 20
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    for number in expected:
        page.keyboard.press("Tab")
        # A radio button that is drawn by its label shows its ring there.
        order, ring = page.evaluate("""() => {
          const {activeElement: each} = document;
          const style = getComputedStyle(each.type === "radio" ? each.nextElementSibling : each);
          return [each.dataset.order, style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth)];
        }""")
        assert (order, ring >= 2) == (number, True), page.evaluate("document.activeElement.outerHTML")


def require_contrast(page: Page) -> None:
    """Make sure that texts have a contrast of 4.5 to 1 to what is behind them (WCAG 2.2, 1.4.3, level AA)."""
    measured = page.evaluate(_CONTRAST)
    assert len(measured) > 10
    assert [each for each in measured if each[0] < 4.5] == []


_CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const parse = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((each, place) => each * a + under[place] * (1 - a));
  const behind = (node) => {
    const own = parse(getComputedStyle(node).backgroundColor);
    return own[3] === 1 || !node.parentElement ? own.slice(0, 3) : over(own, behind(node.parentElement));
  };
  const linear = (each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
  const light = (colour) => colour.map((each, place) => linear(each / 255) * [0.2126, 0.7152, 0.0722][place])
    .reduce((sum, each) => sum + each);
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    const shown = texts.currentNode.textContent.trim() && node.checkVisibility();
    if (!shown || node.closest("script, style, option, :disabled")) continue;
    const under = behind(node);
    const [one, two] = [light(over(parse(getComputedStyle(node).color), under)), light(under)];
    found.push([(Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05), node.outerHTML.slice(0, 120)]);
  }
  return found;
}"""
