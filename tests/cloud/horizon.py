#!/usr/bin/python3
"""Logs in to Horizon with headless Chromium, opens the list of instances, and keeps a picture of it.

Usage: horizon.py URL USER PICTURE [--instance NAME]     the password is read from standard input

Speaks the WebDriver protocol (https://www.w3.org/TR/webdriver2/) with chromedriver. The certificate is the cloud's own, which the browser
does not know.
"""

import argparse
import base64
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--window-size=1400,900",
]


class Browser:
    """One browser, in one session of chromedriver."""

    def __enter__(self):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        port = next(found.group(1) for line in self.driver.stdout if (found := re.search(r"started successfully on port (\d+)", line)))
        self.base = f"http://127.0.0.1:{port}"
        wanted = {"acceptInsecureCerts": True, "goog:chromeOptions": {"args": FLAGS}}
        self.base += "/session/" + self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            self.ask("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(10)

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, method=method, data=data, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        self.ask("POST", "/url", {"url": url})

    def source(self):
        return self.ask("GET", "/source")

    def find(self, css, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.ask("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]
            except urllib.error.HTTPError as error:
                if time.monotonic() > deadline:
                    sys.exit(f"no `{css}` on {self.ask('GET', '/url')}: {self.ask('GET', '/title')}: {error}")
                time.sleep(0.5)

    def type(self, css, text):
        self.ask("POST", f"/element/{self.find(css)}/value", {"text": text})

    def click(self, css):
        self.ask("POST", f"/element/{self.find(css)}/click", {})

    def picture(self, path):
        Path(path).write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))


def main():
    arguments = argparse.ArgumentParser()
    for name in ("url", "user", "picture"):
        arguments.add_argument(name)
    arguments.add_argument("--instance", default="demo-vm")
    given = arguments.parse_args()
    password = sys.stdin.read().strip()
    page = "admin" if given.user == "admin" else "project"
    base = given.url.rstrip("/")
    with Browser() as browser:
        browser.open(f"{base}/auth/login/")
        browser.type("#id_username", given.user)
        browser.type("#id_password", password)
        browser.click("#loginBtn")
        browser.find("#sidebar-accordion, #sidebar, .sidebar")
        browser.open(f"{base}/{page}/instances/")
        browser.find("#instances tbody tr[data-object-id]")
        browser.picture(given.picture)
        source = browser.source()
        shown = browser.ask("POST", "/elements", {"using": "css selector", "value": ".messages .alert-danger, .messages .alert-warning"})
    if given.instance not in source:
        sys.exit(f"{given.instance} is not in the list of {page}/instances")
    if shown:
        sys.exit(f"{page}/instances shows an error; see {given.picture}")


if __name__ == "__main__":
    main()
