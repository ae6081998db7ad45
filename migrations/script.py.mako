"""${message}."""
<%
    def body(lines):
        # Alembic frames what it writes with two remarks that are no longer true once it is read.
        kept = [line for line in lines.splitlines() if "### " not in line]
        return "\n".join(kept).strip()
%>
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision: str = ${repr(up_revision)}
down_revision: str | Sequence[str] | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = ${repr(branch_labels)}
depends_on: str | Sequence[str] | None = ${repr(depends_on)}


def upgrade() -> None:
    ${body(upgrades) if upgrades else "pass"}


def downgrade() -> None:
    ${body(downgrades) if downgrades else "pass"}
