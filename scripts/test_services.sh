#!/usr/bin/env bash
# Installs what the tests and benchmarks run against, where it is missing: a JVM, Apache Kafka's jars, Redis, docker-compose.
set -euo pipefail

cd "$(dirname "$0")/.."
need=scripts/need.sh
jars=.cache/kafka/libs
pom=tests/services/kafka-pom.xml

java_major() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p'; }

# Apache Kafka 4 needs Java 17; Debian 13 has only newer ones.
if ! command -v java >/dev/null || [ "$(java_major)" -lt 17 ]; then
  $need "java 17" openjdk-17-jre-headless openjdk-21-jre-headless openjdk-25-jre-headless
fi

if [ ! -f "$jars/.complete" ] || [ "$pom" -nt "$jars/.complete" ]; then
  $need mvn maven
  rm -rf "$jars"
  mvn -q -B -Dstyle.color=never -f "$pom" dependency:copy-dependencies -DoutputDirectory="$PWD/$jars"
  touch "$jars/.complete"
fi

$need redis-server redis-server

# Of docker-compose only `config` is used, so neither the Docker engine nor its recommended packages are needed.
if ! docker compose version >/dev/null 2>&1; then $need docker-compose docker-compose docker-compose-v2; fi
