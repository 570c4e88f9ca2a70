#!/bin/sh
# Healthy: it answers PONG. The user `health` may do nothing else, and so needs no password.
[ "$(redis-cli --no-auth-warning --user health --pass none ping)" = PONG ]
