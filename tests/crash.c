// Kills a process at its n-th change of a file below a folder, as a crash would,
// or lets that change fail.
//
// CRASH_DIR   the folder
// CRASH_AT    n; unset: nothing is killed
// CRASH_MODE  before: without the change; after: with it; half: a write half done;
//             a number: the change fails with this errno, and nobody is killed
// CRASH_LOG   a file that gets a line for each change
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 65536

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *folder, *mode = "";
static long at = -1, count;
static int error;
static int log_fd = -1;
static char is_ours[MAX_FD];

static void init(void) {
  folder = getenv("CRASH_DIR");
  if (getenv("CRASH_MODE")) mode = getenv("CRASH_MODE");
  error = atoi(mode);
  if (getenv("CRASH_AT")) at = atol(getenv("CRASH_AT"));
  const char *path = getenv("CRASH_LOG");
  if (path) {
    log_fd = syscall(SYS_openat, AT_FDCWD, path,
                     O_CREAT | O_WRONLY | O_APPEND, 0600);
  }
}

static int below(const char *path) {
  pthread_once(&once, init);
  return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int owned(int fd) {
  struct stat facts;
  // not every way to close a file is seen, and a socket may have its number now
  return fd >= 0 && fd < MAX_FD && is_ours[fd] && fstat(fd, &facts) == 0 &&
         (S_ISREG(facts.st_mode) || S_ISDIR(facts.st_mode));
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/** Counts a change; whether it is the one. */
static int is_last(const char *what, const char *path) {
  pthread_mutex_lock(&mutex);
  long n = ++count;
  pthread_mutex_unlock(&mutex);
  if (log_fd >= 0) {
    char line[1200];
    int size = snprintf(line, sizeof line, "%ld %s %s\n", n, what, path);
    if (syscall(SYS_write, log_fd, line, size) < 0) die();
  }
  if (n != at) return 0;
  if (strcmp(mode, "before") == 0) die();
  return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL return (errno = error, -1)
/** A call that is a change where `ours` holds. */
#define CHANGE(ours, what, path, call)            \
  do {                                            \
    int last = (ours) && is_last(what, path);     \
    if (last && error) FAIL;                      \
    __typeof__(call) result = (call);             \
    if (last) die();                              \
    return result;                                \
  } while (0)

static int opened(int fd, int ours, int last) {
  if (fd >= 0 && fd < MAX_FD) is_ours[fd] = ours;
  if (last) die();
  return fd;
}

#define OPEN(name, at_parameter, at_argument)                              \
  int name(at_parameter const char *path, int flags, ...) {                \
    va_list rest;                                                          \
    va_start(rest, flags);                                                 \
    mode_t bits = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                          \
    int ours = below(path);                                                \
    int changes = ours && flags & (O_CREAT | O_TRUNC);                     \
    int last = changes && is_last("open", path);                           \
    if (last && error) FAIL;                                               \
    return opened(REAL(name)(at_argument path, flags, bits), ours, last);  \
  }
#define FOLDER_PARAMETER int at_folder,
#define FOLDER_ARGUMENT at_folder,
OPEN(open, , )
OPEN(open64, , )
OPEN(openat, FOLDER_PARAMETER, FOLDER_ARGUMENT)
OPEN(openat64, FOLDER_PARAMETER, FOLDER_ARGUMENT)

int close(int fd) {
  if (fd >= 0 && fd < MAX_FD) is_ours[fd] = 0;
  return REAL(close)(fd);
}

static int is_half(void) {
  return strcmp(mode, "half") == 0;
}

ssize_t write(int fd, const void *data, size_t size) {
  int last = owned(fd) && is_last("write", "");
  if (last && error) FAIL;
  ssize_t written = REAL(write)(fd, data, last && is_half() ? size / 2 : size);
  if (last) die();
  return written;
}

#define PWRITE(name, offset_type)                                           \
  ssize_t name(int fd, const void *data, size_t size, offset_type offset) { \
    int last = owned(fd) && is_last("write", "");                           \
    if (last && error) FAIL;                                                \
    size_t part = last && is_half() ? size / 2 : size;                      \
    ssize_t written = REAL(name)(fd, data, part, offset);                   \
    if (last) die();                                                        \
    return written;                                                         \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int number) {
  CHANGE(owned(fd), "write", "", REAL(writev)(fd, parts, number));
}

int ftruncate(int fd, off_t size) {
  CHANGE(owned(fd), "truncate", "", REAL(ftruncate)(fd, size));
}

int ftruncate64(int fd, off64_t size) {
  CHANGE(owned(fd), "truncate", "", REAL(ftruncate64)(fd, size));
}

int fsync(int fd) {
  CHANGE(owned(fd), "sync", "", REAL(fsync)(fd));
}

int fdatasync(int fd) {
  CHANGE(owned(fd), "sync", "", REAL(fdatasync)(fd));
}

int rename(const char *from, const char *to) {
  CHANGE(below(from) || below(to), "rename", to, REAL(rename)(from, to));
}

int unlink(const char *path) {
  CHANGE(below(path), "unlink", path, REAL(unlink)(path));
}

int mkdir(const char *path, mode_t bits) {
  CHANGE(below(path), "mkdir", path, REAL(mkdir)(path, bits));
}

int chmod(const char *path, mode_t bits) {
  CHANGE(below(path), "chmod", path, REAL(chmod)(path, bits));
}
