"""The HTTP API: enqueue, watch and read in any language. ``timbral.api.app.create_app`` makes it."""
