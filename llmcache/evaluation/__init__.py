"""How often a semantic store would serve a right answer, and how often a wrong one.

`rows` reads labelled pairs; `measuring` runs a matcher over them; `intervals` says how sure a share
is; `report` and `curve` show the result.
"""
