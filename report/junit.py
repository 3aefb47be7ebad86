"""JUnit XML, which Jenkins, GitLab, GitHub's actions and most others show: one test case a run.

Invalid is a failure; unknown, and what could not run, an error: neither is green. XML cannot hold control characters,
not even escaped; they are written as they would stand in JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from capsize.report.plain import visible
from capsize.report.result import Result


def junit_xml(results: Sequence[Result], *, name: str) -> str:
    """Return the whole document."""
    words = Counter(result.word for result in results)
    totals = {
        "tests": str(len(results)),
        "failures": str(words["invalid"]),
        "errors": str(words["unknown"] + words["error"]),
        "time": f"{sum(result.seconds for result in results):.3f}",
    }
    root = Element("testsuites", {"name": visible(name, 200), **totals})
    suite = SubElement(root, "testsuite", {"name": visible(name, 200), "skipped": "0", **totals})
    for result in results:
        case = SubElement(
            suite, "testcase",
            {
                "classname": visible(f"capsize.{result.suite}", 200), "name": visible(result.name, 400),
                "time": f"{result.seconds:.3f}",
            },
        )  # fmt: skip
        properties = SubElement(case, "properties")
        told = [("verdict", result.word), *result.facts, ("repeat", result.repeat), ("folder", result.folder)]
        for key, value in told:
            if value:
                SubElement(properties, "property", {"name": visible(key, 100), "value": visible(value, 4000)})
        if result.word in ("invalid", "unknown", "error"):
            tag = "failure" if result.word == "invalid" else "error"
            anomalies = () if result.verdict is None else result.verdict.anomalies
            kind = anomalies[0].name if anomalies else result.word
            body = SubElement(case, tag, {"type": visible(kind, 100), "message": result.headline or result.word})
            body.text = "\n".join(result.told())
        if result.report:
            SubElement(case, "system-out").text = visible(f"report {result.report}", 4000)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"
