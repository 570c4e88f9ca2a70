"""The console: what the fleet does and has, in a browser. Served by the HTTP API; ``timbral.console.routes`` is its part
of it."""
