#!/bin/sh
# trim.sh before|after: keeps manuals, translations and caches out of the image. Licences (`copyright`) stay.
set -eu
case ${1:-} in
  before)
    {
      echo 'path-exclude=/usr/share/doc/*'
      echo 'path-include=/usr/share/doc/*/copyright'
      echo 'path-exclude=/usr/share/man/*'
      echo 'path-exclude=/usr/share/info/*'
      echo 'path-exclude=/usr/share/lintian/*'
      echo 'path-exclude=/usr/share/locale/*'
    } > /etc/dpkg/dpkg.cfg.d/trimmed
    ;;
  after)
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /usr/share/man /usr/share/info \
      /usr/share/locale /usr/share/lintian /tmp/*
    find /usr/share/doc -type f ! -name copyright -delete
    # Nothing in here has to become another user.
    find / -xdev -type f -perm /6000 -exec chmod a-s {} +
    ;;
  *)
    echo "usage: trim.sh before|after" >&2
    exit 2
    ;;
esac
