"""Scripts and styles that the page adds to gradio's: names for screen readers, and refusals before an upload."""

import json
from collections.abc import Sequence

from translate import images
from translate.html import PAIR_SCRIPT, PAIR_STYLE
from translate.serving.serving_options import MIB

NAMES = """
// Gradio's icons stand beside words, some of its buttons are inside others, and its links have sizes as names.
function nameControls() {
  const set = (selector, attribute, value) => document.querySelectorAll(selector).forEach(element => {
    const text = typeof value === "function" ? value(element) : value;
    if (text && element.getAttribute(attribute) !== text) element.setAttribute(attribute, text);
  });
  const words = element => element.innerText.replace(/\\s+/g, " ").trim();
  const label = element => words(element.closest(".block")?.querySelector("label") ?? element);
  set("svg:not([aria-hidden])", "aria-hidden", "true");
  set("#status", "role", "status");
  set("a.download-link", "aria-label", link => `download ${link.download}, ${words(link)}`);
  set("td:not(.filename) > .label-clear-button", "aria-label", button => {
    const name = button.closest("tr")?.querySelector(".filename")?.getAttribute("aria-label");
    return name && `remove ${name}`;
  });
  set("button.upload-container:not(.icon-mode)", "aria-label", button => `${label(button)}: ${words(button)}`);
  set("button.upload-container.icon-mode", "aria-label", "add files");
  document.querySelectorAll("button.icon-button:has(button)").forEach(button => {
    button.setAttribute("role", "group");
    button.setAttribute("tabindex", "-1");
    button.setAttribute("aria-label", "add files");
    button.title = "add files";
  });
}
new MutationObserver(nameControls).observe(document.documentElement, {childList: true, subtree: true});
"""
"""Script that gives all controls names, and hides icons from screen readers."""

REFUSALS = """
// Gradio would refuse all files for one that is too large.
function reason(file) {
  const extension = "." + file.name.split(".").pop().toLowerCase();
  if (!LIMITS.extensions.includes(extension)) return `no image of a known format; readable: ${LIMITS.formats}`;
  const size = (file.size / LIMITS.mib).toFixed(1);
  return file.size > LIMITS.upload * LIMITS.mib
    ? `${size} MiB is more than ${LIMITS.upload} MiB; raise --max-upload to allow it` : "";
}
function allowed(files) {
  const kept = new DataTransfer(), place = document.getElementById("refused");
  place.replaceChildren();
  for (const file of files) {
    const why = reason(file);
    if (why) place.appendChild(document.createElement("p")).textContent = `${file.name}: ${why}`;
    else kept.items.add(file);
  }
  return kept;
}
document.addEventListener("change", event => {
  if (event.target.type !== "file") return;
  const kept = allowed(event.target.files);
  if (kept.files.length === event.target.files.length) return;
  event.target.files = kept.files;
  if (!kept.files.length) event.stopImmediatePropagation();
}, true);
document.addEventListener("drop", event => {
  const files = event.dataTransfer?.files;
  if (!event.isTrusted || !files?.length) return;  // its own, below
  const kept = allowed(files);
  if (kept.files.length === files.length) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const options = {bubbles: true, cancelable: true};
  event.target.dispatchEvent(kept.files.length
    ? new DragEvent("drop", {...options, dataTransfer: kept}) : new DragEvent("dragleave", options));
}, true);
"""
"""Script that leaves out files which the page does not take, and says why in the words of the command line."""

STYLE = (
    """
:root { --box: #eef1f5; --link: #0b5cad; }
.dark { --box: #1d2125; --link: #7db7f5; }
"""
    + PAIR_STYLE
    + """
.result .pair { aspect-ratio: var(--shape); max-height: 75vh; margin: auto; }
.result img { margin: 0; }
.result .pair span { color: #fff; }
.gradio-container { width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; }
.status ul { margin: .25rem 0 0 1.2rem; list-style: disc; }
.status .failed, #refused { color: #b3261e; }
.dark .status .failed, .dark #refused { color: #ff8a80; }
#refused { overflow-wrap: anywhere; }
.block:has(#refused:empty) { display: none; }
.upload-container .or { color: var(--body-text-color); }
#outputs td:has(.label-clear-button) { display: none; }
#model:focus-within, #shown:focus-within, .block:has(> button:focus-visible) {
  outline: 3px solid var(--link); outline-offset: 1px;
}
.empty { display: grid; place-items: center; min-height: 260px; border: 2px dashed var(--border-color-primary);
  border-radius: 8px; color: var(--body-text-color-subdued); padding: 1rem; text-align: center; }
@media (max-width: 600px) { .empty { min-height: 120px; } }
"""
)

PLACE_OF_REFUSALS = '<div id="refused" role="alert"></div>'
"""Element in which the page says which files it does not take."""


def make_head(max_upload: int, extensions: Sequence[str]) -> str:
    """Return what the page adds to its head. max_upload: limit of a file in MiB. extensions: those of its files, with dots."""
    limits = {
        "upload": max_upload, "mib": MIB, "extensions": list(extensions), "formats": images.READABLE_FORMATS,
    }  # fmt: skip
    script = f"const LIMITS = {json.dumps(limits)};{REFUSALS}{NAMES}{PAIR_SCRIPT}"
    return f"<script>{script}</script>\n<style>{STYLE}</style>"
