#!/usr/bin/env bash
# Writes the key file that a replica set with a login needs, then continues as the image does.
set -eu

# The server's user must own it and nobody else may read it. A mounted file cannot ensure that.
(umask 077 && printf '%s\n' "$MONGODB_KEY" >/run/mongodb.key)
chown mongodb:mongodb /run/mongodb.key
unset MONGODB_KEY

exec docker-entrypoint.sh "$@"
