"""What can only be said of a site after a browser has opened it.

``serve`` makes a folder a site on the loopback. ``visit`` opens a page the way a
reader would and returns everything that went wrong, as lists of words.
"""

import functools
import gzip
import http.server
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT

CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
MODES = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 360, "height": 740},
        "color_scheme": "light",
        "is_mobile": True,
        "has_touch": True,
    },
}
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
AXE = {  # the slow rules are those on colour: what cannot differ is not asked again
    "light": {},
    "dark": {"runOnly": COLOUR_RULES},
    "phone": {"rules": {rule: {"enabled": False} for rule in COLOUR_RULES}},
}
QUICK_AXE = (Path(__file__).parent / "quick_axe.js").read_text(encoding="utf8")
QUICK_AXE = QUICK_AXE.replace("/* axe */", AXE_SCRIPT)
SETTLED = """async () => {
  await window.MathJax?.startup?.promise;  // formulas are set
  await document.fonts.ready;
  return true;
}"""
WIDE = """() => {
  const page = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= page) return [];
  const scrolls = (e) => e && e !== document.body
    && (/(auto|scroll|hidden)/.test(getComputedStyle(e).overflowX)
        || scrolls(e.parentElement));
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.getBoundingClientRect().right > page + 1 && !scrolls(e))
    .map((e) => e.outerHTML.slice(0, 120));
}"""


@functools.lru_cache(maxsize=64)
def _compressed(body):
    return gzip.compress(body, 6)


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves text compressed, as any web host does."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            path /= "index.html"
        if not path.is_file():
            self.send_error(404)
            return
        body, kind = path.read_bytes(), self.guess_type(str(path))
        self.send_response(200)
        if kind.startswith("text/") or path.suffix in {".js", ".svg", ".json"}:
            body = _compressed(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(http.server.ThreadingHTTPServer):
    """Keeps quiet when a browser closes before it has read everything."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve(folder):
    """Serve the folder on the loopback; yield its address, which ends in a slash."""
    handler = functools.partial(_Handler, directory=str(folder))
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Visit:
    """What a browser has to say about a page."""

    console: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    axe: list[str] = field(default_factory=list)
    wide: list[str] = field(default_factory=list)
    formulas: list[str] = field(default_factory=list)
    theme: str = ""
    bytes: int = 0


@contextmanager
def opened(browser, address, mode="light", **options):
    """Yield a loaded page and its record, and close it afterwards."""
    context = browser.new_context(**{**MODES[mode], **options})
    page, record = context.new_page(), Visit()
    _listen(page, record, address)
    try:
        page.goto(address, wait_until="load")
        page.evaluate(SETTLED)
        yield page, record
    finally:
        context.close()


def _listen(page, record, address):
    site = "/".join(address.split("/", 3)[:3]) + "/"

    def requested(request):
        if not request.url.startswith((site, "data:", "blob:")):
            record.foreign.append(f"asks for {request.url}")

    def answered(response):
        if response.status >= 400:
            record.failed.append(f"{response.status} for {response.url}")

    def logged(message):
        if message.type in {"error", "warning"}:
            record.console.append(f"{message.type}: {message.text}")

    page.on("request", requested)
    page.on("response", answered)
    page.on("console", logged)
    page.on("pageerror", lambda error: record.console.append(f"error: {error}"))
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")

    def finished(event):
        record.bytes += event["encodedDataLength"]

    devtools.on("Network.loadingFinished", finished)


def visit(browser, address, mode):
    """Return what goes wrong when a page is opened in one of the MODES."""
    with opened(browser, address, mode) as (page, record):
        record.theme = page.evaluate("document.documentElement.dataset.theme") or ""
        record.wide = page.evaluate(WIDE)
        record.formulas = unset_formulas(page)
        record.axe = axe_faults(page, mode)
    return record


def unset_formulas(page):
    """Return the formulas that MathJax has not set, or in which it found an error."""
    wrong = page.eval_on_selector_all(
        "mjx-merror", "all => all.map(e => e.getAttribute('title') || e.textContent)"
    )
    raw = page.eval_on_selector_all(
        ".math", "all => all.filter(e => !e.querySelector('mjx-container'))"
        ".map(e => e.textContent.trim().slice(0, 80))"
    )  # fmt: skip
    return [*wrong, *raw]


def axe_faults(page, mode):
    """Return what axe calls serious or critical, with the place and the reason."""
    results = run_axe(page, resultTypes=["violations"], **AXE[mode])
    return [
        f"{fault['id']} ({fault['impact']}): {node['html'][:160]}"
        for fault in results["violations"]
        if fault["impact"] in {"serious", "critical"}
        for node in fault["nodes"][:3]
    ]


def run_axe(page, script=QUICK_AXE, **options):
    """Return all that axe has to say about a page."""
    page.evaluate(script)
    return page.evaluate("o => axe.run(o)", {"preload": False, **options})


def focus_order(page, steps):
    """Press Tab that often; return what got the focus and whether that can be seen."""
    seen = []
    for _ in range(steps):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => {
                  const e = document.activeElement, box = e.getBoundingClientRect();
                  const styles = [e, ...e.children].map((x) => getComputedStyle(x));
                  return {
                    tag: e.tagName.toLowerCase(), id: e.id, text: e.innerText || "",
                    href: e.getAttribute("href") || "", classes: e.className,
                    sidebar: !!e.closest("#pst-primary-sidebar"),
                    shown: box.width + box.height > 0,
                    outlined: styles.some((s) => s.outlineStyle !== "none"
                      || s.boxShadow !== "none"),
                  };
                }"""
            )
        )
    return seen
