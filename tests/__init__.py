"""Tests. A package, so that processes of tests import it, and not one of the same name that an extra installs."""
