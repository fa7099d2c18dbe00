"""Run Django's own tests of tasks on this backend: `python -m tests.upstream`."""

from __future__ import annotations

import io
import os
import sys
import unittest

import django

from tests.upstream.download import directory_of_tests


def main() -> str | None:
    sys.path.insert(0, str(directory_of_tests(django.__version__)))
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.upstream.settings"
    django.setup()
    from django.test.utils import setup_databases, setup_test_environment

    from tests.upstream.suite import EXCEPTIONS, ours_in_place

    setup_test_environment()
    setup_databases(verbosity=0, interactive=False)
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    with ours_in_place() as cases:
        tests = unittest.TestSuite(load(case) for case in cases)
        result = unittest.TextTestRunner(stream=io.StringIO()).run(tests)
    failed = {_name(test): text for test, text in [*result.failures, *result.errors]}
    passed = result.testsRun - len(failed)
    print(f"Django {django.__version__}: {passed} of {result.testsRun} tests pass. The others:")
    for name, text in sorted(failed.items()):
        print(f"  {name}: {EXCEPTIONS.get(name) or text}")
    if failed.keys() != EXCEPTIONS.keys():
        return f"These should fail, and no others: {', '.join(EXCEPTIONS)}"
    return None


def _name(test: unittest.TestCase) -> str:
    test = getattr(test, "test_case", test)  # of a subtest
    return f"{type(test).__name__}.{test._testMethodName}"


if __name__ == "__main__":
    sys.exit(main())
