"""The Elasticsearch side of every procedure: clients, requests, capabilities, and a local node to try things on."""
