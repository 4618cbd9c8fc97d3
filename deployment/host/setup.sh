#!/bin/bash
# Makes a Raspberry Pi OS or Debian 12 machine a Ponya gateway, or says what is wrong with one: setup.sh --help.
#
# Each part says what the machine should be like and changes only what is not. So it can be run as often as one likes, and
# again after it was cut off: files appear whole or not at all.
# Exit status: 0 all is well; 1 something is not, the lines say what; 2 it cannot run here.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
conf=/etc/ponya/host.conf
module_uid=10001
microsoft_packages=${PONYA_MICROSOFT_PACKAGES:-https://packages.microsoft.com/config/debian/12/packages-microsoft-prod.deb}

check=no wrong=0 changed=0
rtc='' hotspot_file='' data_device='' overlay=''
id_scope='' registration_id='' attestation='' x509_cert='' x509_key='' key_file=''

usage() {
  cat <<'EOF'
usage: setup.sh [--check] [options]      (as root; options are remembered, so that `setup.sh` alone repeats them)

  --check                      change nothing, say what is wrong
  --data-device DEVICE         an empty partition for /data, IoT Edge's state and Docker's; is formatted if it is empty
  --overlay                    make the root file system read-only in effect, from the next start (needs --data-device)
  --rtc MODEL                  a clock with a battery on the I2C bus: ds3231, ds1307, pcf8523...
  --hotspot-passphrase-file F  a Wi-Fi network for phones, for the gateway's local page; F holds 8 to 63 characters
  --id-scope SCOPE             of the Device Provisioning Service, with --registration-id ID and one of
      --tpm                      a TPM chip holds the identity
      --x509 CERTIFICATE KEY     files (PEM)
      --symmetric-key-file F     F holds the key in base64
EOF
}

die() { echo "setup.sh: $*" >&2; exit 2; }

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --check) check=yes ;;
      --overlay) overlay=yes ;;
      --tpm) attestation=tpm ;;
      --rtc | --hotspot-passphrase-file | --data-device | --id-scope | --registration-id | --symmetric-key-file)
        [ $# -ge 2 ] || die "$1 needs a value"
        case $1 in
          --rtc) rtc=$2 ;;
          --hotspot-passphrase-file) hotspot_file=$(realpath -m "$2") ;;
          --data-device) data_device=$2 ;;
          --id-scope) id_scope=$2 ;;
          --registration-id) registration_id=$2 ;;
          --symmetric-key-file) attestation=symmetric_key key_file=$(realpath -m "$2") ;;
        esac
        shift ;;
      --x509)
        [ $# -ge 3 ] || die "--x509 needs a certificate's file and a key's"
        attestation=x509 x509_cert=$(realpath -m "$2") x509_key=$(realpath -m "$3")
        shift 2 ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; die "unknown option $1" ;;
    esac
    shift
  done
}

right_system() {
  local id='' version=''
  [ "$(id -u)" = 0 ] || die "must be run as root: sudo $0"
  # shellcheck source=/dev/null
  { id=$(. /etc/os-release && echo "${ID:-}"); version=$(. /etc/os-release && echo "${VERSION_ID:-}"); } 2>/dev/null
  case "$id $version" in
    "debian 12" | "raspbian 12") ;;
    *) die "this is '${id:-unknown} ${version:-}'; IoT Edge's 32-bit packages and Ponya's image are for Debian 12" \
      "(bookworm), or Raspberry Pi OS based on it" ;;
  esac
  case $(dpkg --print-architecture) in
    armhf | arm64 | amd64) ;;
    *) die "there is no image for $(dpkg --print-architecture); there are armhf, arm64 and amd64" ;;
  esac
  if [ $check = no ] && [ "$(findmnt -no FSTYPE /)" = overlay ] && [ -e /etc/overlayroot.conf ]; then
    die "the root file system is an overlay: what is changed now is gone after a restart. Start once without it:" \
      "overlayroot-chroot, put overlayroot=\"disabled\" into /etc/overlayroot.conf, exit, restart"
  fi
}

# --- what the machine should be like, and making it so -----------------------------------------------------------------

ok() { [ $check = no ] || echo "ok: $*"; }
bad() { wrong=$((wrong + 1)); echo "wrong: $*"; }
now() { changed=$((changed + 1)); echo "done: $*"; }

# want WHAT TEST... -- FIX...: if TEST fails, FIX (not with --check), and look again.
want() {
  local what=$1 probe=() fix=() into=probe word
  shift
  for word in "$@"; do
    if [ "$word" = -- ] && [ $into = probe ]; then into=fix; continue; fi
    if [ $into = probe ]; then probe+=("$word"); else fix+=("$word"); fi
  done
  if "${probe[@]}" >/dev/null 2>&1; then ok "$what"; return 0; fi
  if [ $check = yes ]; then bad "$what"; return 1; fi
  if "${fix[@]}" && "${probe[@]}" >/dev/null 2>&1; then now "$what"; return 0; fi
  bad "$what: could not be done; see above, then run this again"
  return 1
}

# A file with just this content (stdin), whole or not at all.
want_file() {
  local path=$1 mode=$2 temporary
  temporary=$(mktemp) && cat > "$temporary"
  want "$path" same_file "$temporary" "$path" "$mode" -- put_file "$temporary" "$path" "$mode"
  local status=$?
  rm -f "$temporary"
  return $status
}
same_file() { cmp -s "$1" "$2" && [ "$(stat -c %a "$2")" = "$3" ]; }
put_file() {
  mkdir -p "$(dirname "$2")" && install -m "$3" "$1" "$2.ponya-new" && sync "$2.ponya-new" && mv -f "$2.ponya-new" "$2"
}

want_ours() { want_file "$1" "$2" < "$here/files/$(basename "$1")"; }

want_folder() {
  want "folder $1" eval "[ \"\$(stat -c '%a %u' '$1')\" = '$2 $3' ]" -- install -d -m "$2" -o "$3" -g "$3" "$1"
}

want_line() { want "$1: $2" grep -qxFe "$2" "$1" -- add_line "$1" "$2"; }
add_line() {
  local temporary=$1.ponya-new
  { cat "$1" 2>/dev/null; printf '%s\n' "$2"; } > "$temporary" && sync "$temporary" && mv -f "$temporary" "$1"
}

want_package() {
  want "package $1" installed "$1" -- install_package "$1"
}
installed() { [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null)" = "install ok installed" ]; }
updated=no
install_package() {
  export DEBIAN_FRONTEND=noninteractive
  dpkg --configure -a >/dev/null 2>&1 # a run that was cut off leaves packages half configured
  if [ $updated = no ]; then
    apt-get -qq update >/dev/null 2>&1 || echo "  apt-get update failed: is there a network?"
    updated=yes
  fi
  apt-get -qq install -y --no-install-recommends "$1" >/dev/null 2>/tmp/ponya-apt.$$ && { rm -f /tmp/ponya-apt.$$; return 0; }
  sed -n 's/^[EW]: /  /p' /tmp/ponya-apt.$$ | tail -2
  rm -f /tmp/ponya-apt.$$
  echo "  $1 could not be installed: is there a network?"
  return 1
}

running_systemd() { [ -d /run/systemd/system ]; }
want_unit() {
  want "unit $1" systemctl is-enabled --quiet "$1" -- enable_unit "$1"
}
enable_unit() {
  systemctl enable --quiet "$1" || return 1
  ! running_systemd || systemctl restart "$1"
}

# --- the parts, in the order in which they need each other -------------------------------------------------------------

remember() {
  local name
  want_file $conf 600 < <(for name in rtc hotspot_file data_device overlay id_scope registration_id attestation \
    x509_cert x509_key key_file; do printf '%s=%q\n' $name "${!name}"; done)
}

data_partition() {
  if [ -n "$data_device" ]; then
    want "file system PONYA-DATA on $data_device" eval "[ \"\$(blkid -p -o value -s LABEL '$data_device')\" = PONYA-DATA ]" \
      -- make_data || return
    want_folder /data 755 0
    want_line /etc/fstab "LABEL=PONYA-DATA /data ext4 noatime,errors=remount-ro,x-systemd.device-timeout=60s 0 2"
    want "/data is mounted" mountpoint -q /data -- mount -o noatime "$data_device" /data || return
    # Everything that has to outlive a restart of a read-only root.
    local pair from to
    for pair in aziot-etc:/etc/aziot aziot-var:/var/lib/aziot docker:/var/lib/docker journal:/var/log/journal \
      timesync:/var/lib/systemd/timesync; do
      from=/data/host/${pair%%:*} to=${pair#*:}
      want "$from has what was in $to" test -d "$from" -- move_to "$to" "$from"
      want_line /etc/fstab "$from $to none bind,x-systemd.requires-mounts-for=/data 0 0"
      want "$to lies on the data partition" mountpoint -q "$to" -- mount "$to"
    done
  fi
  want_folder /data/ponya 700 $module_uid
  want_folder /data/iotedge/agent 755 0
  want_folder /data/iotedge/hub 755 0
}
make_data() {
  [ -b "$data_device" ] || { echo "  $data_device is no block device"; return 1; }
  if [ -n "$(blkid -p -o value -s TYPE "$data_device")" ]; then
    echo "  $data_device holds something already, and is left alone; empty it (wipefs) or name another"
    return 1
  fi
  mkfs.ext4 -q -L PONYA-DATA "$data_device"
}
move_to() {
  mkdir -p "$1" "$(dirname "$2")" && rm -rf "$2.ponya-new" && cp -a "$1" "$2.ponya-new" && sync && mv "$2.ponya-new" "$2"
}

cards() {
  want_folder /media/cards 755 0
  want_folder /media/bundles 755 0
  want_ours /usr/local/lib/ponya/card-added 755
  want_ours /etc/udev/rules.d/90-ponya-cards.rules 644
  [ $check = yes ] || ! running_systemd || udevadm control --reload
}

logs() {
  want_file /etc/systemd/journald.conf.d/ponya.conf 644 <<'EOF'
[Journal]
Storage=persistent
SystemMaxUse=64M
RuntimeMaxUse=16M
MaxRetentionSec=3month
EOF
  want_file /etc/docker/daemon.json 644 <<'EOF'
{"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}}
EOF
}

watchdog() {
  want_file /etc/systemd/system.conf.d/ponya-watchdog.conf 644 <<'EOF'
# The Pi's watchdog takes 15 s at most.
[Manager]
RuntimeWatchdogSec=15s
RebootWatchdogSec=5min
EOF
  if [ -e /boot/firmware/config.txt ]; then want_line /boot/firmware/config.txt "dtparam=watchdog=on"; fi
}

clock() {
  want_package systemd-timesyncd
  want_unit systemd-timesyncd.service
  if [ -n "$rtc" ]; then
    want_package util-linux-extra
    [ -e /boot/firmware/config.txt ] && want_line /boot/firmware/config.txt "dtoverlay=i2c-rtc,$rtc"
  fi
}

firewall() {
  want_package nftables
  want_ours /etc/ponya/firewall.nft 644
  want_ours /etc/systemd/system/ponya-firewall.service 644
  want_unit ponya-firewall.service
}

hotspot() {
  [ -n "$hotspot_file" ] || return 0
  local passphrase
  passphrase=$(head -n 1 "$hotspot_file" 2>/dev/null)
  if [ "${#passphrase}" -lt 8 ] || [ "${#passphrase}" -gt 63 ]; then
    bad "$hotspot_file: must hold a passphrase of 8 to 63 characters in its first line"
    return
  fi
  want_package network-manager
  want_file /etc/NetworkManager/system-connections/ponya-hotspot.nmconnection 600 <<EOF
[connection]
id=ponya-hotspot
type=wifi
autoconnect=true
autoconnect-priority=-10

[wifi]
mode=ap
band=bg
ssid=Ponya-$(hostname)

[wifi-security]
key-mgmt=wpa-psk
psk=$passphrase

[ipv4]
method=shared
address1=10.42.0.1/24

[ipv6]
method=disabled
EOF
  [ $check = yes ] || ! running_systemd || nmcli connection reload
}

iot_edge() {
  if ! installed aziot-edge && [ $check = no ] && ! installed packages-microsoft-prod; then
    want_package curl && want_package ca-certificates
    local package
    package=$(mktemp --suffix .deb)
    if curl --fail --silent --show-error --location --max-time 120 --output "$package" "$microsoft_packages"; then
      dpkg -i "$package" >/dev/null && updated=no
    else
      echo "  IoT Edge's package source cannot be reached: is there a network?"
    fi
    rm -f "$package"
  fi
  want_package moby-engine
  want_package aziot-edge
}

identity() {
  if [ -z "$id_scope" ]; then
    want "IoT Edge knows who it is (--id-scope and what belongs to it)" test -s /etc/aziot/config.toml -- false
    return
  fi
  local how=''
  case $attestation in
    tpm) want "a TPM chip" test -e /dev/tpmrm0 -- false ;;
    x509)
      if [ ! -r "$x509_cert" ] || [ ! -r "$x509_key" ]; then bad "$x509_cert, $x509_key: cannot be read"; return; fi
      how=$(printf 'identity_cert = "file://%s"\nidentity_pk = "file://%s"' "$x509_cert" "$x509_key") ;;
    symmetric_key)
      if [ ! -e "$key_file" ] && grep -qsF "registration_id = \"$registration_id\"" /etc/aziot/config.toml; then
        ok "the key of $registration_id was taken over before"
        return
      fi
      if ! base64 --decode < "$key_file" >/dev/null 2>&1 || [ ! -s "$key_file" ]; then
        bad "$key_file: must hold the key in base64"
        return
      fi
      how=$(printf 'symmetric_key = { value = "%s" }' "$(tr -d '[:space:]' < "$key_file")") ;;
    *) bad "--id-scope needs one of --tpm, --x509, --symmetric-key-file"; return ;;
  esac
  [ -n "$registration_id" ] || { bad "--id-scope needs --registration-id"; return; }
  local before
  before=$(sha256sum /etc/aziot/config.toml 2>/dev/null)
  want_file /etc/aziot/config.toml 600 <<EOF
allow_elevated_docker_permissions = false
# A gateway that starts without a link must not ask who it is: see docs/operating.md, "Started without a network".
auto_reprovisioning_mode = "OnErrorOnly"

[provisioning]
source = "dps"
global_endpoint = "https://global.azure-devices-provisioning.net"
id_scope = "$id_scope"

[provisioning.attestation]
method = "$attestation"
registration_id = "$registration_id"
$how

[agent]
name = "edgeAgent"
type = "docker"
imagePullPolicy = "on-create"

[agent.config]
image = "mcr.microsoft.com/azureiotedge-agent:1.6"
createOptions = { HostConfig = { Binds = ["/data/iotedge/agent:/iotedge/storage"] } }

[agent.env]
storageFolder = "/iotedge/storage"
UpstreamProtocol = "AmqpWs"
EOF
  if [ $check = no ] && running_systemd && [ "$before" != "$(sha256sum /etc/aziot/config.toml)" ]; then
    iotedge config apply || bad "iotedge config apply failed"
  fi
}

offline() {
  want_ours /usr/local/sbin/ponya-read-cards 755
  want_ours /etc/systemd/system/ponya-offline.service 644
  want_ours /etc/systemd/system/ponya-offline.timer 644
  want_unit ponya-offline.timer
}

read_only_root() {
  [ -n "$overlay" ] || return 0
  if [ -z "$data_device" ]; then bad "--overlay needs --data-device: everything else is forgotten at each start"; return; fi
  want_package overlayroot
  # recurse=0: the data partition stays as it is.
  want_file /etc/overlayroot.conf 644 <<'EOF'
overlayroot="tmpfs:recurse=0"
EOF
}

main() {
  # shellcheck source=/dev/null
  if [ -r $conf ]; then . $conf; fi
  parse "$@"
  right_system
  exec 9>/run/ponya-setup.lock
  flock --nonblock 9 || die "it is running already"
  remember
  data_partition
  cards
  logs
  watchdog
  clock
  firewall
  hotspot
  iot_edge
  identity
  offline
  [ $wrong -gt 0 ] || read_only_root # last, and never over something half done
  if [ $wrong -gt 0 ]; then
    echo "$wrong things are wrong$([ $check = yes ] && echo ", nothing was changed" || echo "; mend them and run this again")"
    exit 1
  fi
  echo "all is well; $changed things were changed$([ $changed -eq 0 ] || echo "; restart the machine now")"
}

main "$@"
