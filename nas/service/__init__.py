"""The service: studies run under supervision, watched and chosen from over HTTP."""
