#!/usr/bin/env bash
# Writes the key file that a replica set with a login wants, then goes on as the image would.
set -eu

# Its owner must be the server's user, and nobody else may read it, which no mounted file gives.
(umask 077 && printf '%s\n' "$MONGODB_KEY" >/run/mongodb.key)
chown mongodb:mongodb /run/mongodb.key
unset MONGODB_KEY

exec docker-entrypoint.sh "$@"
