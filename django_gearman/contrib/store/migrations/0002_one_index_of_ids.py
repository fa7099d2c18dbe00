"""Remove an index of ids on PostgreSQL which no query uses; new tables do not have it."""

from typing import Any

from django.db import migrations


def remove_index(apps: Any, schema_editor: Any) -> None:
    """Remove the index that Django made for searches by the beginning of an id."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX IF EXISTS gearman_jobrecord_id_1997a199_like")


class Migration(migrations.Migration):
    dependencies = (("gearman_store", "0001_initial"),)

    operations = [migrations.RunPython(remove_index, migrations.RunPython.noop)]
