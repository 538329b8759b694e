"""One local page in the browser: play with models, translate, verify, train.

Every tab is a file. It lays out components and calls `inference`, `evaluation`, `data`
and `training`. `parts` writes the page's own HTML; `server` serves it.
"""
