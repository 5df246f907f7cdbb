"""How the documentation is built: ``nox -s docs``. Every warning is an error, and nothing is fetched."""

import sys
from pathlib import Path

from sphinx.util.inspect import TypeAliasForwardRef

import roadrunner_trio

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "roadrunner-trio"
version = release = roadrunner_trio.__version__
copyright = "the roadrunner-trio contributors"

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib_trio", "reference_tables", "hardening_tables"]
exclude_patterns = ["_build"]
default_role = "code"

autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_typehints = "signature"
autodoc_type_aliases = {
    **{name: f"roadrunner_trio.{name}" for name in ("AnyResponse", "CallNext", "Handler", "Middleware", "Send")},
    "OnError": "roadrunner_trio.apps.router.OnError",
    "CacheControl": "roadrunner_trio.apps.static.CacheControl",
    "SymbolicLinks": "roadrunner_trio.apps.static.SymbolicLinks",
    "Origins": "roadrunner_trio.apps.cors.Origins",
    "DrainEvents": "roadrunner_trio.apps.asgi.DrainEvents",
    "LifespanMode": "roadrunner_trio.apps.asgi.LifespanMode",
    "MemoryStream": "roadrunner_trio.testing.MemoryStream",
    **{
        name: name
        for name in (
            "Address",
            "Bindable",
            "Body",
            "BodyMode",
            "Check",
            "ClientCertificate",
            "ConnectionSettings",
            "Duration",
            "Field",
            "FieldsLike",
            "ListenerSettings",
            "Notation",
            "OnMessage",
            "Pair",
            "Path",
            "Produce",
            "Size",
            "Source",
        )
    },
}
"""Names that signatures say, rather than what they stand for: of each there is a page that says that."""
TypeAliasForwardRef.__repr__ = lambda alias: alias.name  # by which Sphinx shows one inside of others

nitpicky = True
nitpick_ignore_regex = [("py:class", ".*"), ("py:.*", r"(atexit|h11|json|logging|ssl|trio|trio_websocket)\b.*")]
"""What leads nowhere: names in signatures, and those of others, as nothing is fetched. All else leads somewhere."""

napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
