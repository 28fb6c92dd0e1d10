"""The sections of the report, one module each; adding one is adding a module here."""
