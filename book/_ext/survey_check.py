"""The directive that sets the survey's word beside ours.

    :::{survey-check} wrong
    :name: err-resnet50-87mb
    The survey says
    : What it says, in our own words.

    We find
    : What we measured: {{ a_key }} rather than that.
    :::

The argument is the verdict. Numbers in "We find" come from ``data/results`` through
substitutions; a typed one is reported, because nothing would keep it true.
"""

from __future__ import annotations

import re
from typing import ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_id
from sphinx.util.typing import OptionSpec

LOGGER = logging.getLogger(__name__)
VERDICTS = {
    "agrees": "agrees",
    "convention": "a matter of convention",
    "wrong": "wrong",
    "depends": "it depends",
}
TERMS = ["The survey says", "We find"]
GENERATED = re.compile(r"\{\{.*?\}\}|\$[^$]*\$|`[^`]*`|\]\([^)]*\)")
TYPED = re.compile(r"(?<![\w.-])\d[\d.,]*(?![\w-])")


def typed_numbers(source: str) -> list[str]:
    """Return the numbers typed after "We find", outside formulas, links and code.

    Digits inside a name, such as ResNet-50, fp32 or 3x3, are no measurements.
    """
    _, _, found = source.partition(TERMS[1])
    return TYPED.findall(GENERATED.sub(" ", found))


class SurveyCheck(SphinxDirective):
    """Render the two entries as one box with the verdict in its title."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[OptionSpec] = {"name": str}

    def run(self) -> list[nodes.Node]:
        """Return the box, or say what is wrong with it."""
        verdict = self.arguments[0]
        if verdict not in VERDICTS:
            raise self.error(
                f"verdict {verdict!r} is none of {', '.join(VERDICTS)}",
            )
        label = f"The survey, checked: {VERDICTS[verdict]}"
        box = nodes.admonition(classes=["survey-check", f"survey-check-{verdict}"])
        box += nodes.title(
            "",
            "",
            nodes.Text("The survey, checked "),
            nodes.inline("", VERDICTS[verdict], classes=["verdict"]),
        )
        self.state.nested_parse(self.content, self.content_offset, box)
        terms = [term.astext() for term in box.findall(nodes.term)]
        if terms != TERMS:
            raise self.error(
                f"the entries must be {TERMS[0]!r} and {TERMS[1]!r}, got {terms}"
            )
        for number in typed_numbers("\n".join(self.content)):
            LOGGER.warning(
                "typed number %s in 'We find'; take it from data/results as {{ key }}",
                number,
                location=self.get_location(),
                type="effdl",
                subtype="typed-number",
            )
        if "name" in self.options:
            self._name(box, label)
        return [box]

    def _name(self, box: nodes.admonition, title: str) -> None:
        """Make the box a target whose links read like its title."""
        name = nodes.fully_normalize_name(self.options["name"])
        identifier = make_id(self.env, self.state.document, term=name)
        box["ids"].append(identifier)
        standard = self.env.get_domain("std")
        if name in standard.labels:
            LOGGER.warning(
                "duplicate label %s", name, location=self.get_location(), type="effdl"
            )
        standard.note_hyperlink_target(name, self.env.docname, identifier, title)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive("survey-check", SurveyCheck)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
