"""The console: what the fleet does and has, in a browser. The HTTP API serves it, from ``timbral.console.routes``."""
