"""The errors that a user can cause and mend: each is one sentence that names what is wrong.

QuireError
├── SourceError      a raw dataset is not what it was said to be
├── RecipeError      a recipe that cannot be built, or not from this source
├── BuildError       a build that cannot start or go on in this folder
├── BundleError      a bundle is damaged, hostile, or of another format
└── RunError         a training run cannot start, go on or be measured
"""


class QuireError(Exception):
    """What the command line prints in one line, with exit status 1."""


class SourceError(QuireError):
    """A raw dataset is missing, damaged or not in the layout named."""


class RecipeError(QuireError):
    """A recipe's fields do not fit each other, or do not fit the source."""


class BuildError(QuireError):
    """A build cannot start or go on in this folder."""


class BundleError(QuireError):
    """A bundle is damaged, hostile, incomplete or of another format."""


class RunError(QuireError):
    """A training run cannot start, go on or be measured."""
