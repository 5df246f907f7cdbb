"""How the documentation is built: ``nox -s docs``. Every warning is an error, and nothing is fetched."""

import sys
from pathlib import Path

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
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
