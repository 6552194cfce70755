"""What a compression did: the records, and the page that shows them.

`report.py` has the records, without torch; `page.py` fills ``report.html.jinja`` from whatever has
a report's fields. It may import io, records and plots; begin at `CompressionReport`.
"""
