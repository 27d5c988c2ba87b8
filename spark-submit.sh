#!/usr/bin/env bash
# Sets up on first use (Python packages, Java, Delta's jars; all inside this folder), then runs a job graph or a job.
#
# One machine: Python starts at once and asks for a JVM only when there is work for Spark. `--env cluster`: the job goes
# through Spark's own spark-submit with the master, storage and settings of conf/cluster.yml.
# The script may be called from anywhere: paths you give are relative to where you stand, defaults to this folder.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
venv=$root/.venv
jars=$root/.jars

usage() {
  cat <<TEXT
Usage: ./spark-submit.sh <job graph or job> [--env local|cluster] [--lake DIR] [--conf DIR] [arguments …]
       ./spark-submit.sh <job> --help      what a job takes
       ./spark-submit.sh --set-up          set up only

Job graphs (conf/jobs, yours and the project's):
$(list_graphs)

Jobs (jobs):
$(list_jobs)
TEXT
}

list_graphs() { # the first comment line of a graph says what it does; the project's do for any configuration
  local file name listed=" "
  for file in "$conf"/jobs/*.yml "$root"/conf/jobs/*.yml; do
    name=$(basename "$file" .yml)
    [[ -e $file && $listed != *" $name "* ]] || continue
    listed+="$name "
    printf '  %-12s %s\n' "$name" "$(sed -n '/^# */{s/^# *//p;q;}' "$file")"
  done
}

list_jobs() { # the first line of a job's docstring says what it does
  local file
  for file in "$root"/jobs/*.py; do
    [[ -e $file && $(basename "$file") != run.py ]] || continue
    printf '  %-12s %s\n' "$(basename "$file" .py)" "$(sed -n '1,5{/^"""/{s/"""//g;p;q;}}' "$file")"
  done
}

say() { printf 'set-up: %s\n' "$*" >&2; }

fail() {
  printf '%s\n' "$*" >&2
  exit 2
}

as_root_with_apt() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }

# --- Java: JAVA_HOME, then PATH; read from the JDK's `release` file, because starting a JVM to ask it costs more.

java_version() { # of the Java home $1: 17, 21, … or nothing
  local version=
  [[ -x $1/bin/java ]] || return 0
  [[ -r $1/release ]] && version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release")
  [[ -n $version ]] || version=$("$1/bin/java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p;q')
  printf '%s' "$version"
}

find_java() { # sets java_home to a Java 17 or 21, or to nothing
  local candidate command
  java_home=
  command=$(command -v java || true)
  for candidate in "${JAVA_HOME:-}" "${command:+$(dirname "$(dirname "$(readlink -f "$command")")")}" \
    /usr/lib/jvm/*-17-* /usr/lib/jvm/*-21-* /Library/Java/JavaVirtualMachines/*/Contents/Home; do
    case $([[ -z $candidate ]] || java_version "$candidate") in
      17 | 21) java_home=$candidate && return ;;
    esac
  done
}

need_java() {
  local package
  find_java
  [[ -z $java_home ]] || return 0
  if as_root_with_apt; then
    say "installing Java …"
    apt-get update -qq >/dev/null 2>&1 || true
    for package in openjdk-17-jre-headless openjdk-21-jre-headless; do
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 && break
    done
    find_java
  fi
  [[ -n $java_home ]] ||
    fail "Java 17 or 21 is needed and none was found: install it (Debian, Ubuntu: sudo apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17) or set JAVA_HOME."
}

# --- Python

find_python() { # sets python to a Python >= 3.11 that can make virtual environments, or to nothing
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3.14 python3 python; do
    python=$(command -v "$candidate" || true)
    [[ -n $python ]] && "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
  done
  python=
}

pip_install() { # quietly; what pip said is shown when it fails
  if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" >"$venv/set-up.log" 2>&1; then
    tail -n 15 "$venv/set-up.log" >&2
    fail "set-up: pip could not install the packages; the lines above say why. Mirrors and proxies are taken from pip's own settings (PIP_INDEX_URL, pip.conf, https_proxy)."
  fi
}

install_packages() {
  find_python
  [[ -n $python ]] ||
    fail "Python 3.11 or later with venv is needed and none was found: install it (Debian, Ubuntu: sudo apt-get install python3 python3-venv; macOS: brew install python@3.12)."
  # What an interrupted first set-up left cannot be trusted and is made anew. An environment that we did not begin is
  # somebody's own: it is added to, never deleted.
  [[ ! -e $venv/unfinished ]] || rm -rf "$venv"
  if [[ ! -d $venv ]]; then
    say "making a virtual environment with $("$python" --version) …"
    mkdir "$venv" && : >"$venv/unfinished"
    "$python" -m venv "$venv"
  fi
  rm -f "$venv"/varve-*.stamp
  say "installing the locked packages (Spark is 450 MB; a few minutes on a thin line) …"
  # Everything as wheels but pyspark, which is published as source only; its build gets setuptools from the lock too.
  awk '/^[^ ]/ { on = /^setuptools==/ } on' "$root/requirements.lock" >"$venv/build.lock"
  pip_install --require-hashes --only-binary :all: -r "$venv/build.lock"
  pip_install --require-hashes --only-binary :all: --no-binary pyspark --no-build-isolation -r "$root/requirements.lock"
  pip_install --no-deps --no-build-isolation --editable "$root"
  rm -f "$venv/unfinished"
}

set_up() {
  # Two first runs at once: the second waits here and then finds everything done.
  exec 9>"$root/.set-up.lock"
  if command -v flock >/dev/null && ! flock -n 9; then
    say "another run is setting up: waiting for it …"
    flock 9
  fi
  if [[ ! -e $stamp ]]; then
    need_java
    stamp=$(stamp_path)
    install_packages
    say "fetching Delta's jars …"
    PYTHONPATH=$root "$venv/bin/python" -m tools.fetch_jars "$jars" || exit 2
    say "preparing a fast start of Spark …"
    JAVA_HOME=$java_home SPARK_HOME=$(spark_home) PYTHONPATH=$root "$venv/bin/python" -m tools.class_archive "$jars/classes.jsa" >/dev/null 2>&1 ||
      say "no fast start: each session will take some seconds longer"
    : >"$stamp"
    say "done in $SECONDS s"
  fi
  exec 9>&-
}

sum() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }

stamp_path() { # what was set up: these packages, these jars, this Java
  local inputs
  inputs=$(cat "$root"/{requirements.lock,lib/varve/spark/jars.py} && sed -n '/^\[options/,/^\[tool/p' "$root/setup.cfg" &&
    printf '%s' "$java_home" "$root")
  inputs=$(sum <<<"$inputs")
  printf '%s/varve-%.16s.stamp' "$venv" "$inputs"
}

spark_home() { printf '%s' "$venv"/lib/python3.*/site-packages/pyspark; }

# --- The command line

argument() { # the value of option $1 among the rest, the last one given; nothing when absent
  local name=$1 value=
  shift
  while (($#)); do
    case $1 in
      "$name") value=${2:-} ;;
      "$name"=*) value=${1#*=} ;;
    esac
    shift
  done
  printf '%s' "$value"
}

conf=$(argument --conf "$@")
conf=${conf:-$root/conf}

case ${1:-} in
  -h | --help) usage && exit 0 ;;
  --set-up) ;;
  "" | -*) usage >&2 && exit 2 ;;
  *[!a-z0-9_-]*) { printf 'There is no job graph or job "%s".\n\n' "$1" && usage; } >&2 && exit 2 ;;
  *)
    if [[ -e $conf/jobs/$1.yml || -e $root/conf/jobs/$1.yml ]]; then
      job=("$root/jobs/run.py" "$@")
    elif [[ -e $root/jobs/$1.py ]]; then
      job=("$root/jobs/$1.py" "${@:2}")
    else
      { printf 'There is no job graph or job "%s".\n\n' "$1" && usage; } >&2
      exit 2
    fi
    ;;
esac

find_java
stamp=$(stamp_path)
[[ -n $java_home && -e $stamp ]] || set_up
[[ ${1:-} != --set-up ]] || exit 0

export JAVA_HOME=$java_home
SPARK_HOME=$(spark_home)
export SPARK_HOME
export PYTHONSAFEPATH=1 # jobs/ is not put on the import path, where jobs/bronze.py could shadow a module
export PYSPARK_DRIVER_PYTHON=$venv/bin/python

if [[ $(argument --env "$@") == cluster ]]; then
  settings=$(mktemp)
  trap 'rm -f "$settings"' EXIT
  "$venv/bin/python" -m varve.spark.session "$conf" cluster >"$settings"
  submit=()
  while IFS= read -r -d '' word; do submit+=("$word"); done <"$settings"
  rm -f "$settings"
  export PYSPARK_PYTHON=${PYSPARK_PYTHON:-python3} # the workers' own
  exec "$SPARK_HOME/bin/spark-submit" "${submit[@]}" "${job[@]}" 2> >(exec grep --line-buffered -v '^WARNING: Using incubator modules' >&2)
fi
export PYSPARK_PYTHON=$venv/bin/python
exec "$venv/bin/python" "${job[@]}"
