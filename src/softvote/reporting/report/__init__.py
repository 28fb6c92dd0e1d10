"""The report: one page per pipeline that people open first, and an index over all of them.

Data comes in as `ReportData`, each section makes blocks of it, and the templates make them a page. Adding a
section is adding one module to `sections/`; see `softvote.reporting.report.section`.
"""
