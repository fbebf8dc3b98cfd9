#!/bin/sh
# A browser for tests/browser: whatever is there, else Debian's package, where we may install one without a question.
# Never fails: without a browser that tier skips, and says so at the end of the session.
for program in "${HEADGATE_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
    [ -n "$program" ] && command -v "$program" >/dev/null && exit 0
done
root=""
[ "$(id -u)" = 0 ] || root="sudo -n"
if command -v apt-get >/dev/null && $root true 2>/dev/null; then
    echo "installing chromium by apt-get, for tests/browser"
    export DEBIAN_FRONTEND=noninteractive
    $root apt-get update -qq && $root apt-get install -y -qq chromium >/dev/null && exit 0
fi
echo "no Chromium here and none that can be installed unasked: tests/browser will be skipped" >&2
echo "install Chromium or Chrome, or name its program in HEADGATE_CHROMIUM" >&2
