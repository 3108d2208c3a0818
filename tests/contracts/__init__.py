"""Other people's servers, clients and suites against ours."""
