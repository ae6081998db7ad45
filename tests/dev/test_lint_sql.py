"""What `saas lint` lets through and what not, in SQL: one statement a line."""

import pytest

from saas.dev.lint_sql import sql_faults

TABLES = {"projects", "tasks", "members"}

BOUND = """
SELECT id FROM projects WHERE tenant_id = $1
SELECT id FROM projects WHERE $1::uuid = tenant_id AND (a OR b)
SELECT id FROM public.projects AS p WHERE (p.tenant_id, p.id) = (%s, %s)
SELECT id FROM projects p JOIN tasks t ON t.tenant_id = p.tenant_id WHERE p.tenant_id = :tenant_id
SELECT id FROM projects p LEFT JOIN tasks t ON t.tenant_id = p.tenant_id AND t.project_id = p.id
    WHERE p.tenant_id = $1
SELECT id FROM projects JOIN tasks USING (tenant_id) WHERE projects.tenant_id = %(tenant_id)s
SELECT id FROM projects p WHERE p.tenant_id = $1 AND EXISTS (SELECT FROM tasks t WHERE t.tenant_id
    = p.tenant_id)
SELECT id FROM projects p, LATERAL (SELECT 1 FROM tasks t WHERE t.tenant_id = p.tenant_id) x WHERE
    p.tenant_id = $1
SELECT id FROM projects WHERE tenant_id = $1 UNION SELECT id FROM tasks WHERE tenant_id = $1
WITH mine AS (SELECT id FROM projects WHERE tenant_id = $1) SELECT * FROM mine
WITH projects AS (SELECT 1) SELECT * FROM projects
WITH RECURSIVE tree AS (SELECT id FROM tasks WHERE tenant_id = $1 UNION ALL SELECT t.id FROM tasks
    t JOIN tree ON t.p = tree.id WHERE t.tenant_id = $1) SELECT * FROM tree
UPDATE projects SET name = $2 WHERE tenant_id = $1 AND id = $3
UPDATE tasks t SET a = 1 FROM projects p WHERE p.tenant_id = $1 AND t.tenant_id = p.tenant_id
DELETE FROM tasks WHERE tenant_id = $1
DELETE FROM tasks USING projects p WHERE tasks.tenant_id = $1 AND p.tenant_id = tasks.tenant_id
INSERT INTO projects (id, tenant_id) VALUES ($1, $2), ($3, $2)
INSERT INTO projects (tenant_id, name) SELECT t.tenant_id, t.name FROM tasks t WHERE t.tenant_id =
    $1
INSERT INTO projects (tenant_id, name) VALUES ($1, $2) ON CONFLICT (tenant_id, name) DO UPDATE SET
    name = excluded.name
SELECT id FROM projects WHERE tenant_id = $1 FOR UPDATE OF projects
EXPLAIN (ANALYZE) SELECT id FROM projects WHERE tenant_id = $1
SELECT id FROM projects p JOIN (tasks t JOIN members m ON m.tenant_id = t.tenant_id) ON
    t.tenant_id = p.tenant_id WHERE p.tenant_id = $1
SELECT (SELECT count(*) FROM tasks WHERE tenant_id = $1), name FROM tenants
SELECT 'projects' FROM pg_class WHERE oid = 'projects'::regclass
CREATE POLICY p ON projects USING (tenant_id = current_setting('x')::uuid)
ALTER TABLE projects ADD COLUMN x int
CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN DELETE FROM projects; RETURN NULL; END $$ LANGUAGE
    plpgsql
GRANT SELECT ON projects TO saas_app
SELECT id FROM plans
DELETE FROM projects WHERE tenant_id = $1 AND id IN (SELECT project_id FROM tasks WHERE tenant_id
    = $1 AND done)
SELECT id FROM tasks t RIGHT JOIN projects p ON t.tenant_id = p.tenant_id WHERE p.tenant_id = $1
COPY (SELECT id FROM projects WHERE tenant_id = $1) TO STDOUT
SELECT id FROM projects WHERE tenant_id = $1 AND name LIKE 'a%%'
"""

UNBOUND = """
SELECT id FROM projects
SELECT id FROM projects WHERE tenant_id = $1 OR true
SELECT id FROM projects WHERE id = $2 OR id = $3 AND tenant_id = $1
SELECT id FROM projects WHERE NOT tenant_id = $1
SELECT id FROM projects WHERE (tenant_id = $1) IS NOT TRUE
SELECT id FROM projects WHERE tenant_id = $1 = $2
SELECT id FROM projects WHERE tenant_id <> $1
SELECT id FROM projects WHERE tenant_id = tenant_id
SELECT id FROM projects WHERE tenant_id = coalesce($1, tenant_id)
SELECT id FROM projects WHERE tenant_id = ANY($1)
SELECT id FROM projects WHERE tenant_id IN ($1)
SELECT id FROM projects WHERE tenant_id IS NOT NULL
SELECT id FROM projects WHERE tenant_id = '018f0000-0000-7000-8000-000000000000'
SELECT id FROM projects WHERE tenant_id = '$1'
SELECT tenant_id FROM projects WHERE id = $1
SELECT tenant_id = $1 FROM projects
SELECT id FROM projects WHERE name = 'tenant_id = $1'
SELECT count(*) FROM projects GROUP BY tenant_id HAVING tenant_id = $1
SELECT id FROM projects ORDER BY tenant_id = $1
SELECT p.id FROM projects p, tasks t WHERE t.tenant_id = $1
SELECT p.id FROM projects p JOIN tasks t ON t.id = p.id WHERE tenant_id = $1
SELECT p.id FROM projects p LEFT JOIN tasks t ON t.tenant_id = p.tenant_id AND p.tenant_id = $1
SELECT p.id FROM projects p LEFT JOIN tasks t ON t.project_id = p.id WHERE p.tenant_id = $1
SELECT p.id FROM projects p RIGHT JOIN tasks t ON t.tenant_id = p.tenant_id WHERE p.tenant_id = $1
SELECT p.id FROM projects p FULL JOIN tasks t ON t.tenant_id = p.tenant_id AND t.tenant_id = $1
SELECT p.id FROM projects p JOIN tasks t ON t.tenant_id = p.tenant_id
SELECT p.id FROM projects p CROSS JOIN tasks t WHERE p.tenant_id = $1
SELECT p.id FROM projects p NATURAL JOIN tasks t WHERE p.tenant_id = $1
SELECT p.id FROM projects p JOIN tasks t USING (project_id) WHERE p.tenant_id = $1
SELECT id FROM projects WHERE id IN (SELECT project_id FROM tasks WHERE tenant_id = $1)
SELECT id FROM projects WHERE tenant_id = $1 AND id IN (SELECT project_id FROM tasks)
SELECT id FROM projects WHERE EXISTS (SELECT 1 WHERE projects.tenant_id = $1)
SELECT id FROM projects p WHERE EXISTS (SELECT FROM tasks t WHERE t.tenant_id = p.tenant_id)
SELECT id FROM projects WHERE tenant_id = $1 UNION SELECT id FROM tasks
SELECT * FROM (SELECT * FROM projects) p WHERE p.tenant_id = $1
WITH mine AS (SELECT * FROM projects) SELECT * FROM mine WHERE tenant_id = $1
WITH projects AS (SELECT * FROM projects) SELECT * FROM projects WHERE tenant_id = $1
WITH projects AS (SELECT 1) SELECT * FROM public.projects
WITH tasks AS (SELECT 1 WHERE true) DELETE FROM tasks
WITH gone AS (DELETE FROM tasks RETURNING *) SELECT * FROM gone WHERE tenant_id = $1
SELECT id FROM projects "P", tasks p WHERE p.tenant_id = $1
SELECT id FROM projects AS p(id, tenant_id) WHERE tenant_id = $1
SELECT id FROM ONLY projects
SELECT id FROM projects TABLESAMPLE SYSTEM (10)
SELECT id FROM "projects"
SELECT id FROM PROJECTS
TABLE projects
UPDATE projects SET tenant_id = $1
UPDATE projects SET name = 'x' WHERE id = $1
UPDATE projects SET name = 'x' FROM tasks t WHERE t.tenant_id = $1 AND t.project_id = projects.id
DELETE FROM tasks
DELETE FROM tasks USING projects p WHERE p.tenant_id = $1
DELETE FROM tasks WHERE CURRENT OF c
INSERT INTO projects (id, name) VALUES ($1, $2)
INSERT INTO projects VALUES ($1, $2)
INSERT INTO projects DEFAULT VALUES
INSERT INTO projects (tenant_id, name) VALUES ('018f0000-0000-7000-8000-000000000000', $1)
INSERT INTO projects (tenant_id, name) VALUES ($1, $2), (DEFAULT, $2)
INSERT INTO projects (tenant_id, name) SELECT tenant_id, name FROM tasks
INSERT INTO projects (name, tenant_id) SELECT t.*, $1 FROM tasks t WHERE t.tenant_id = $1
INSERT INTO projects (tenant_id, name) SELECT $1, name FROM tasks
INSERT INTO plans (slug) SELECT name FROM projects
MERGE INTO projects USING tasks ON true WHEN MATCHED THEN DELETE
TRUNCATE projects
COPY projects TO STDOUT
COPY (SELECT * FROM projects) TO STDOUT
EXPLAIN ANALYZE SELECT * FROM projects
EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM projects
PREPARE x AS SELECT * FROM projects
DECLARE c CURSOR FOR SELECT * FROM projects
DO $$ BEGIN DELETE FROM projects; END $$
CREATE VIEW v AS SELECT * FROM projects
CREATE TABLE x AS (SELECT * FROM projects)
SELECT 1; DELETE FROM projects
ALTER TABLE projects ADD COLUMN x int; SELECT * FROM projects
SELECT * FROM projects WHERE
VALUES ((SELECT count(*) FROM projects))
SELECT 1 FROM plans WHERE slug IN (SELECT name FROM projects)
SELECT * FROM projects WHERE tenant_id = current_setting('app.tenant_id')::uuid OR true
SELECT * FROM projects WHERE tenant_id = {}
SELECT * FROM (projects p JOIN tasks t ON t.tenant_id = p.tenant_id) WHERE t.id = $1
SELECT CASE WHEN tenant_id = $1 THEN 1 END FROM projects
SELECT id FROM projects p WHERE p.tenant_id = $1 OR p.tenant_id = $2
SELECT count(*) FILTER (WHERE tenant_id = $1) FROM projects
SELECT id FROM projects p JOIN LATERAL (SELECT 1 FROM tasks t) x ON x.tenant_id = p.tenant_id
    WHERE p.tenant_id = $1
SELECT id FROM projects WHERE tenant_id = (SELECT tenant_id FROM members LIMIT 1)
SELECT id FROM projects p JOIN tenants n ON n.id = p.tenant_id WHERE n.id = $1
WITH a AS (SELECT 1), b AS (SELECT * FROM tasks) SELECT * FROM b
SELECT id FROM projects WHERE tenant_id = $1 AND (id IN (SELECT project_id FROM tasks WHERE
    tenant_id = $1 UNION SELECT id FROM projects))
UPDATE projects SET name = (SELECT name FROM members LIMIT 1) WHERE tenant_id = $1
INSERT INTO projects (tenant_id, name) VALUES ($1, (SELECT name FROM members LIMIT 1))
INSERT INTO projects (tenant_id) VALUES ($1) ON CONFLICT (tenant_id, id) DO UPDATE SET name =
    (SELECT name FROM members LIMIT 1)
DELETE FROM tasks WHERE tenant_id = $1 RETURNING (SELECT name FROM members LIMIT 1)
SELECT id FROM projects WHERE tenant_id = $1 ORDER BY (SELECT name FROM members LIMIT 1)
SELECT id FROM plans p JOIN tasks t ON t.tenant_id = p.tenant_id
SELECT id FROM tasks t, (SELECT 1 FROM projects p WHERE p.tenant_id = t.tenant_id) x WHERE
    t.tenant_id = $1
SELECT id FROM projects WHERE tenant_id = interpolated_0
SELECT id FROM projects WHERE tenant_id = $1 AND interpolated_0
SELECT id FROM projects interpolated_0 WHERE tenant_id = $1
"""


def statements(text: str) -> list[str]:
    """A statement may go on in lines that are indented."""
    return text.strip().replace("\n    ", " ").splitlines()


@pytest.mark.parametrize("sql", statements(BOUND))
def test_statement_that_is_bound_passes(sql: str) -> None:
    assert sql_faults(sql, TABLES) == []


@pytest.mark.parametrize("sql", statements(UNBOUND))
def test_statement_that_is_not_bound_is_a_fault(sql: str) -> None:
    assert sql_faults(sql, TABLES)


def test_comment_is_no_predicate() -> None:
    for comment in ("-- {}", "-- {}\n", "/* {} */", "/* /* */ {} -- */"):
        sql = f"SELECT id FROM projects {comment.format('WHERE tenant_id = $1')}"
        assert sql_faults(sql, TABLES)
        assert sql_faults(f"{sql}\nWHERE tenant_id = $1", TABLES) == []


def test_fault_names_the_table_and_what_is_missing() -> None:
    (fault,) = sql_faults("SELECT 1 FROM projects p, tasks t WHERE p.tenant_id = $1", TABLES)

    assert fault == "tasks: no t.tenant_id = <parameter> in the conditions of its own SELECT"


def test_every_statement_of_a_script_is_looked_at() -> None:
    bound, unbound = "SELECT 1 FROM tasks WHERE tenant_id = $1", "DELETE FROM projects"

    for script in (f"{bound}; {unbound}", f"{unbound}; {bound};", f"SELECT ';'; {unbound}"):
        assert [fault.partition(":")[0] for fault in sql_faults(script, TABLES)] == ["projects"]
    assert sql_faults(f"{bound}; {bound}", TABLES) == []


def test_what_cannot_be_parsed_is_a_fault_only_if_it_names_a_table_of_tenants() -> None:
    assert "cannot be parsed" in sql_faults("SELECT FROM FROM projects WHERE (", TABLES)[0]
    assert sql_faults("SELECT FROM FROM plans WHERE (", TABLES) == []
