"""The frame of a report's page: one file, no script, light and dark."""

from __future__ import annotations

import html

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --quiet: #666; --ok: #1a7f4b; --no: #b3402a;
  --bar: #3b6fb6; }
@media (prefers-color-scheme: dark) { :root { --quiet: #aaa; --ok: #5cc794; --no: #ef8f75; --bar: #7aa7e8; } }
body { font: 16px/1.5 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif;
  max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { white-space: nowrap; } tbody th { font-weight: 500; }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
tr.ok td.n { color: var(--ok); } tr.no td.n { color: var(--no); }
.score { font-size: 1.3rem; } .quiet { color: var(--quiet); font-size: .9rem; } .warn { color: var(--no); }
pre { overflow: auto; max-height: 24rem; padding: .6rem; border: 1px solid var(--line); }
svg text { fill: currentColor; font-size: 12px; } svg rect { fill: var(--bar); }
.share { display: inline-block; height: .7em; background: var(--bar); margin-right: .5em; }
td:has(> .share) { white-space: nowrap; }
"""


def page(title: str, body: str, lang: str) -> str:
    """A whole page; `body` is HTML, `title` is not."""
    return (f'<!doctype html>\n<html lang="{"zh-CN" if lang == "zh" else "en"}">\n<head>\n'
            '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            # Nothing is loaded and nothing runs, whatever a student's words hold.
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
            f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
            f"<h1>{html.escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n")


def number(x: float) -> str:
    """A number of points: at most two decimals, none that say nothing."""
    return f"{x:.2f}".rstrip("0").rstrip(".")
