"""Everything that is a table, for Alembic and the checks: importing the app imports each model."""

from saas import app
from saas.db.models import Base

RESOURCES = app.RESOURCES
metadata = Base.metadata
