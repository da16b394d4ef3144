#!/bin/sh
# What a guest of `cargo xtask vm` does: pid 1, or a unit of systemd. Runs from the disk /run/vm and
# writes to the second serial port: `@begin STEP`, `@ok STEP SECONDS`, `@fail STEP`, `@end`; other
# lines are what the steps print. State that must outlive a reboot is in /var/lib/vm.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
PAYLOAD=/run/vm
STATE=/var/lib/vm
NODE=10.0.2.15

setting() { tr ' ' '\n' < /proc/cmdline | sed -n "s/^vm\.$1=//p"; }
now() { cut -d' ' -f1 /proc/uptime; }
finish() { echo '@end'; sync; busybox poweroff -f; sleep 60; }

# step NAME COMMAND...: the trial ends with the first that fails.
step() {
  name=$1; shift
  began=$(now)
  echo "@begin $name"
  if "$@"; then
    echo "@ok $name $(echo "$(now) $began" | awk '{ printf "%.1f", $1 - $2 }')"
  else
    echo "@fail $name"
    trouble
    finish
  fi
}

trouble() {
  get get pods -A --wide
  get get --raw /api/v1/events | tr '{' '\n' | grep -o '"reason":"[^"]*"\|"message":"[^"]*"' | uniq -c | tail -n 60
  tail -n 40 /var/lib/transom/clusters/*/logs/*.log
  if [ -d /run/systemd/system ]; then
    journalctl --no-pager -o cat -n 60 -u 'transom-*' -u vm
  fi
  dmesg | tail -n 15
}

# eventually SECONDS COMMAND...
eventually() {
  left=$1; shift
  until "$@" > /run/last 2>&1; do
    left=$((left - 1))
    if [ "$left" -le 0 ]; then cat /run/last; return 1; fi
    sleep 1
  done
  cat /run/last
}

# ---- the machine without systemd

mounts() {
  mountpoint -q /proc || mount -t proc proc /proc
  mountpoint -q /sys || mount -t sysfs sysfs /sys
  mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
  mountpoint -q /run || mount -t tmpfs tmpfs /run
  mkdir -p /dev/pts /dev/shm
  mount -t devpts devpts /dev/pts
  mount -t tmpfs tmpfs /dev/shm
  case $(setting cgroup) in
    v2) mount -t cgroup2 cgroup2 /sys/fs/cgroup ;;
    v1)
      mount -t tmpfs tmpfs /sys/fs/cgroup
      for controllers in cpu,cpuacct cpuset memory pids devices freezer blkio hugetlb; do
        mkdir "/sys/fs/cgroup/$controllers"
        mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers"
      done ;;
  esac
  ip link set lo up
  hostname guest
}

# Below systemd its networkd does this.
wire() {
  [ -d /run/systemd/system ] && return 0
  for link in /sys/class/net/e*; do
    ip link set "${link##*/}" up
    ip address add $NODE/24 dev "${link##*/}"
    ip route add default via 10.0.2.2
  done 2> /dev/null
  return 0
}

# ---- what a host holds

picture() {
  # Their numbers and their order change with each boot.
  echo '# mounts'; awk '{ for (i = 1; $i != "-"; i++); print $4, $5, $(i + 1), $(i + 2) }' /proc/self/mountinfo | sort
  echo '# links'; ip -o link | cut -d: -f2
  echo '# addresses'; ip -o address | awk '{ print $2, $4 }'
  echo '# routes'; ip route show table all | grep -v '^local\|^broadcast\|^multicast\|^ff00\|^fe80' | sed 's/ expires [0-9]*sec//'
  echo '# nft'; nft list tables
  echo '# settings'; cat /proc/sys/net/ipv4/ip_forward
  echo '# groups'; find /sys/fs/cgroup -type d | grep 'transom\|kubepods'
  echo '# processes'; ps -eo args | grep 'transom\|hello' | grep -v 'grep\|awk\|vm-trial'
  echo '# namespaces'; find /run /var/lib -type f -fstype nsfs 2> /dev/null
  echo '# files'
  find /etc /home /opt /root /tmp /usr/local /var /run -xdev -not -type s 2> /dev/null \
    | grep -v '^/run/\(vm\|last\|systemd\|udev\|log\|utmp\|initctl\|mount\|lock\)\|^/var/lib/\(vm\|systemd\)\|^/var/log\|^/var/tmp/systemd\|^/tmp/systemd' | sort
  ls -A /var/log | grep -v 'journal\|private\|wtmp\|btmp'
}
before() { mkdir -p $STATE; picture > $STATE/before; }
unchanged() { picture > $STATE/after; diff $STATE/before $STATE/after; }

which_machine() {
  uname -r
  cat /proc/cmdline
  echo "pid 1: $(cat /proc/1/comm)"
  echo "control groups: $(awk '$0 ~ / - cgroup/ { print $5 }' /proc/self/mountinfo | tr '\n' ' ')"
  if [ -e /proc/net/if_inet6 ]; then echo 'IPv6: on'; else echo 'IPv6: off'; fi
}

# ---- trials

get() { transom kubectl "$@"; }

# The main job of the README, and nothing stays.
trial_main() {
  step 'before' before
  step 'transom demo: three nodes, Deployment, Service, rolling update under load' transom demo
  step 'transom kubectl get' get get nodes --wide
  step 'transom down' transom down
  step 'the host is as before' unchanged
}

answers() { busybox wget -q -O - "http://$1/"; }
node_port() { get get services -n default --raw /api/v1/namespaces/default/services/hello | sed 's/.*"nodePort":\([0-9]*\).*/\1/'; }
cluster_ip() { get get services --raw /api/v1/namespaces/default/services/hello | sed 's/.*"clusterIP":"\([0-9.]*\)".*/\1/'; }
names_of_pods() { get get --raw '/api/v1/namespaces/default/pods' | tr ',' '\n' | sed -n 's/.*"uid":"\(.*\)".*/\1/p' | sort -u; }
pods_run() { [ "$(get get pods -n default | grep -c '1/1 *Running')" = "$1" ]; }
started() { get get --raw '/api/v1/namespaces/default/pods' | tr ',' '\n' | grep '"startedAt"' | sort; }
same() { "$1" > $STATE/now; diff "$STATE/$1" $STATE/now; }
note() { "$1" > "$STATE/$1"; cat "$STATE/$1"; }

# A local cluster over reboots: with time to end, and without.
trial_reboot() {
  case $BOOT in
    1)
      step 'before' before
      step 'transom demo' transom demo
      note names_of_pods
      step 'reboot' again ;;
    2)
      step 'transom start' transom start
      step 'the same pods run' eventually 90 pods_run 3
      step 'they are the same objects' same names_of_pods
      step 'the Service answers' eventually 30 answers "$(cluster_ip)"
      step 'reboot without warning' power_cut ;;
    3)
      step 'transom start' transom start
      step 'the same pods run' eventually 90 pods_run 3
      step 'they are the same objects' same names_of_pods
      step 'the Service answers' eventually 30 answers "$(cluster_ip)"
      step 'transom down' transom down
      step 'the host is as before' unchanged ;;
  esac
}

# A reboot ends the script; the next boot goes on.
again() {
  sync
  echo '@reboot'
  if [ -d /run/systemd/system ]; then systemctl --no-block reboot; else busybox reboot -f; fi
  sleep 300
}
power_cut() {
  echo '@reboot'
  echo b > /proc/sysrq-trigger
  sleep 60
}

# `transom install` below systemd.
installed() {
  export KUBECONFIG=/etc/transom/admin.conf
  step 'the node is Ready' eventually 120 node_ready
}
node_ready() { get get nodes | grep -w Ready; }
serves() {
  step "$1: pods run" eventually 120 pods_run 3
  step "$1: the node's port answers" eventually 30 answers "$NODE:$(node_port)"
  step "$1: the Service's address answers" eventually 30 answers "$(cluster_ip)"
}
trial_install() {
  case $BOOT in
    1)
      step 'before' before
      step 'transom install' transom install
      installed
      step 'transom demo --installed' transom demo --installed
      serves 'after the demo'
      note names_of_pods > /dev/null
      note started
      step 'both services restart' systemctl restart transom-server transom-agent
      installed
      step 'restart: no container was started again' same started
      serves 'after the restart'
      step 'agent and server are killed' systemctl kill --kill-whom=main -s KILL transom-server transom-agent
      sleep 3
      installed
      step 'kill: no container was started again' same started
      step 'a second install is an upgrade' transom install
      installed
      step 'upgrade: no container was started again' same started
      step 'reboot' again ;;
    2)
      installed
      serves 'after the reboot'
      step 'they are the same objects' same names_of_pods
      step 'reboot without warning' power_cut ;;
    3)
      installed
      serves 'after the cut'
      step 'they are the same objects' same names_of_pods
      step 'transom uninstall' transom uninstall
      step 'the host is as before' unchanged ;;
  esac
}

# A machine without systemd says what to do instead.
refused() { if "$@" > /run/refused 2>&1; then return 1; fi; cat /run/refused; grep -q "not systemd" /run/refused; }

main() {
  exec < /dev/null > /dev/ttyS1 2>&1
  mkdir -p $STATE
  BOOT=$(($(cat $STATE/boot 2> /dev/null || echo 0) + 1))
  echo $BOOT > $STATE/boot
  if [ $BOOT = 1 ]; then
    cp $PAYLOAD/transom /usr/local/bin/transom.given
    mkdir -p /opt/transom && mv /usr/local/bin/transom.given /opt/transom/transom
  fi
  PATH=/opt/transom:$PATH
  wire
  echo "@boot $BOOT"
  [ $BOOT = 1 ] && step 'the machine' which_machine
  if [ ! -d /run/systemd/system ]; then
    step 'transom install is refused without systemd' refused transom install
  fi
  "trial_$(setting trial)"
  finish
}

if [ $$ = 1 ]; then
  mounts
  main &
  # Whoever loses its parents becomes a child of pid 1, which collects it.
  while :; do wait; sleep 1; done
fi
main
