#!/bin/sh
# Says where things are, once all of them are healthy: compose starts this last. `docker compose logs ready` says it again.
set -eu
url() {
    case $1 in
    *:*) printf 'http://%s' "$1" ;;
    *) printf 'http://localhost:%s' "$1" ;;
    esac
}
cat <<END
Ready.
  HTTP API   $(url "$API_PUBLISH")   a page for people; all routes: $(url "$API_PUBLISH")/docs
  Flower     $(url "$FLOWER_PUBLISH")   what the fleet does
  Passwords  docker compose run --rm secrets show
  Train      put plays.csv into the data folder, then: docker compose exec trainer timbral train plays.csv
END
