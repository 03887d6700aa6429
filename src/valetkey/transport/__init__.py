"""valetkey's own HTTP client, over which tokens are asked for."""
