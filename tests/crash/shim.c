/* A library for LD_PRELOAD: counts the operations that change files below one folder, the home, and crashes at one.

   It counts over all processes of a command, does nothing until `shim_begin` is called, and follows forks. One
   operation is done at a time, under a lock in shared memory. After operation number `crash_at` every process that is
   known is killed, and none of them does another operation before its end.

   For power cuts it keeps what has reached the disk, in the folder `keep`: `data/INODE` is the content of a file at its
   last fsync, `names/INODE` are the entries of a folder at its last fsync, and `links/INODE` is a link to the file, so
   that its number is not used again. Stores through mmap are not seen (SQLite's -shm file has no content to keep). */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PATH 4096
#define PROCESSES 256

/* Written by crash.py with the same layout. */
struct control {
    char home[PATH], keep[PATH], log[PATH];
    long long crash_at;            /* 0: never */
    long long torn;                /* the write that is the crash point is done by half */
    atomic_llong count;
    atomic_llong crashed, lock, processes;
    long long pids[PROCESSES];
};

static struct control *control;
static __thread char before_path[PATH];

static void register_process(void) {
    if (control) control->pids[atomic_fetch_add(&control->processes, 1) % PROCESSES] = getpid();
}

void shim_begin(const char *file) {
    int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (control == MAP_FAILED) abort();
    register_process();
    pthread_atfork(NULL, NULL, register_process);
}

/* The absolute path of `path` relative to an open folder, or of an open file if `path` is NULL, in `out`. */
static int absolute(int dir, const char *path, char *out) {
    out[0] = 0;
    if (path && path[0] == '/') return snprintf(out, PATH, "%s", path) < PATH;
    if (path && dir == AT_FDCWD) {
        if (!getcwd(out, PATH)) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH - 1);
        if (n < 0) return 0;
        out[n] = 0;
    }
    size_t n = strlen(out);
    return !path || snprintf(out + n, PATH - n, "/%s", path) < (int)(PATH - n);
}

/* Whether an operation counts; if so the lock is held until `after`. */
static int before(int dir, const char *path) {
    if (!control) return 0;
    int saved = errno;
    size_t n = strlen(control->home);
    int ours = absolute(dir, path, before_path) && !strncmp(before_path, control->home, n)
               && (before_path[n] == '/' || !before_path[n]);
    if (ours) {
        long long free = 0;
        while (!atomic_compare_exchange_weak(&control->lock, &free, 1)) { free = 0; usleep(50); }
        while (atomic_load(&control->crashed)) usleep(1000); /* until the kill arrives */
    }
    errno = saved;
    return ours;
}

static int is_crash_point(void) { return atomic_load(&control->count) + 1 == control->crash_at; }

static void release(void) { atomic_store(&control->lock, 0); }

static void after(const char *operation, int failed) {
    int saved = errno;
    if (!failed) {
        long long number = atomic_fetch_add(&control->count, 1) + 1;
        char line[PATH + 64];
        int n = snprintf(line, sizeof line, "%lld %s %s\n", number, operation, before_path + strlen(control->home));
        int log = syscall(SYS_openat, AT_FDCWD, control->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        syscall(SYS_write, log, line, n);
        syscall(SYS_close, log);
        if (number == control->crash_at) {
            atomic_store(&control->crashed, 1);
            for (int i = 0; i < control->processes && i < PROCESSES; i++)
                if (control->pids[i] != getpid()) kill(control->pids[i], SIGKILL);
            kill(getpid(), SIGKILL);
        }
    }
    release();
    errno = saved;
}

/* ---- what has reached the disk ---- */

static void kept(char *out, const char *kind, unsigned long long inode) { /* `out` has 2 * PATH bytes */
    snprintf(out, 2 * PATH, "%s/%s/%llu", control->keep, kind, inode);
}

static void created(int dir, const char *path) { /* a new file must keep its number; a new folder has no entries yet */
    struct stat st;
    char to[2 * PATH];
    if (!control->keep[0] || syscall(SYS_newfstatat, dir, path, &st, AT_SYMLINK_NOFOLLOW)) return;
    kept(to, S_ISDIR(st.st_mode) ? "names" : "links", st.st_ino);
    if (S_ISDIR(st.st_mode)) syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, to, O_CREAT | O_TRUNC | O_WRONLY, 0600));
    else syscall(SYS_linkat, AT_FDCWD, before_path, AT_FDCWD, to, 0);
}

static void reached_disk(int fd) {
    struct stat st;
    char from[64], to[2 * PATH], block[65536];
    if (!control->keep[0] || fstat(fd, &st)) return;
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    kept(to, S_ISDIR(st.st_mode) ? "names" : "data", st.st_ino);
    int out = syscall(SYS_openat, AT_FDCWD, to, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (S_ISDIR(st.st_mode)) {
        DIR *entries = opendir(from);
        for (struct dirent *each; entries && (each = readdir(entries));) {
            int n = snprintf(block, sizeof block, "%llu %c %s\n", (unsigned long long)each->d_ino,
                             each->d_type == DT_DIR ? 'd' : 'f', each->d_name);
            if (strcmp(each->d_name, ".") && strcmp(each->d_name, "..")) syscall(SYS_write, out, block, n);
        }
        if (entries) closedir(entries);
    } else {
        int in = syscall(SYS_openat, AT_FDCWD, from, O_RDONLY | O_CLOEXEC);
        for (ssize_t n; (n = syscall(SYS_read, in, block, sizeof block)) > 0;) syscall(SYS_write, out, block, n);
        syscall(SYS_close, in);
    }
    syscall(SYS_close, out);
}

/* ---- the operations ---- */

#define COUNTED(type, operation, dir, path, call) \
    int ours = before(dir, path); \
    type result = (call); \
    if (ours) after(operation, result < 0); \
    return result;

static ssize_t half(int fd, const void *data, size_t size) { /* a torn write: its first half */
    return syscall(SYS_write, fd, data, size / 2);
}

ssize_t write(int fd, const void *data, size_t size) {
    int ours = before(fd, NULL);
    ssize_t result = ours && control->torn && is_crash_point() ? half(fd, data, size) : syscall(SYS_write, fd, data, size);
    if (ours) after("write", result < 0);
    return result;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    int ours = before(fd, NULL);
    if (ours && control->torn && is_crash_point()) size /= 2;
    ssize_t result = syscall(SYS_pwrite64, fd, data, size, at);
    if (ours) after("pwrite", result < 0);
    return result;
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return pwrite(fd, data, size, at); }
ssize_t writev(int fd, const struct iovec *v, int n) { COUNTED(ssize_t, "writev", fd, NULL, syscall(SYS_writev, fd, v, n)) }
ssize_t sendfile(int out, int in, off_t *at, size_t n) { COUNTED(ssize_t, "sendfile", out, NULL, syscall(SYS_sendfile, out, in, at, n)) }
ssize_t sendfile64(int out, int in, off_t *at, size_t n) { return sendfile(out, in, at, n); }
ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t n, unsigned flags) {
    COUNTED(ssize_t, "copy_file_range", out, NULL, syscall(SYS_copy_file_range, in, from, out, to, n, flags))
}

static int synced(const char *operation, long call, int fd) {
    int ours = before(fd, NULL);
    int result = syscall(call, fd);
    if (ours && !result) reached_disk(fd);
    if (ours) after(operation, result < 0);
    return result;
}
int fsync(int fd) { return synced("fsync", SYS_fsync, fd); }
int fdatasync(int fd) { return synced("fdatasync", SYS_fdatasync, fd); }

int ftruncate(int fd, off_t size) { COUNTED(int, "ftruncate", fd, NULL, syscall(SYS_ftruncate, fd, size)) }
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }
int truncate(const char *path, off_t size) { COUNTED(int, "truncate", AT_FDCWD, path, syscall(SYS_truncate, path, size)) }
int truncate64(const char *path, off_t size) { return truncate(path, size); }
int fallocate(int fd, int mode, off_t at, off_t n) { COUNTED(int, "fallocate", fd, NULL, syscall(SYS_fallocate, fd, mode, at, n)) }
int fallocate64(int fd, int mode, off_t at, off_t n) { return fallocate(fd, mode, at, n); }
int posix_fallocate(int fd, off_t at, off_t n) { return fallocate(fd, 0, at, n) ? errno : 0; }
int posix_fallocate64(int fd, off_t at, off_t n) { return posix_fallocate(fd, at, n); }

static int opened(int dir, const char *path, int flags, unsigned mode) { /* counts if it creates or empties a file */
    int changes = flags & (O_CREAT | O_TRUNC) && (flags & O_TMPFILE) != O_TMPFILE;
    int ours = changes && before(dir, path);
    struct stat st;
    int existed = ours && !syscall(SYS_newfstatat, dir, path, &st, 0);
    int result = syscall(SYS_openat, dir, path, flags, mode);
    if (ours && result >= 0 && !existed) {
        created(dir, path);
        after("create", 0);
    } else if (ours && result >= 0 && flags & O_TRUNC && st.st_size) after("empty", 0);
    else if (ours) release();
    return result;
}
#define MODE(flags) unsigned mode = 0; if ((flags) & (O_CREAT | __O_TMPFILE)) { \
    va_list list; va_start(list, flags); mode = va_arg(list, unsigned); va_end(list); }
int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { MODE(flags) return opened(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE(flags) return opened(dir, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static int renamed(int from, const char *old, int to, const char *new, unsigned flags) {
    COUNTED(int, "rename", to, new, syscall(SYS_renameat2, from, old, to, new, flags))
}
int rename(const char *old, const char *new) { return renamed(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int from, const char *old, int to, const char *new) { return renamed(from, old, to, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) { return renamed(from, old, to, new, flags); }

static int made(int dir, const char *path, mode_t mode) {
    int ours = before(dir, path);
    int result = syscall(SYS_mkdirat, dir, path, mode);
    if (ours && !result) created(dir, path);
    if (ours) after("mkdir", result < 0);
    return result;
}
int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int dir, const char *path, mode_t mode) { return made(dir, path, mode); }

int unlink(const char *path) { COUNTED(int, "unlink", AT_FDCWD, path, syscall(SYS_unlinkat, AT_FDCWD, path, 0)) }
int rmdir(const char *path) { COUNTED(int, "rmdir", AT_FDCWD, path, syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR)) }
int unlinkat(int dir, const char *path, int flags) { COUNTED(int, "unlink", dir, path, syscall(SYS_unlinkat, dir, path, flags)) }
int link(const char *old, const char *new) { COUNTED(int, "link", AT_FDCWD, new, syscall(SYS_linkat, AT_FDCWD, old, AT_FDCWD, new, 0)) }
int linkat(int from, const char *old, int to, const char *new, int flags) {
    COUNTED(int, "link", to, new, syscall(SYS_linkat, from, old, to, new, flags))
}
int symlink(const char *target, const char *path) { COUNTED(int, "symlink", AT_FDCWD, path, syscall(SYS_symlinkat, target, AT_FDCWD, path)) }
int chmod(const char *path, mode_t mode) { COUNTED(int, "chmod", AT_FDCWD, path, syscall(SYS_fchmodat, AT_FDCWD, path, mode)) }
int fchmod(int fd, mode_t mode) { COUNTED(int, "chmod", fd, NULL, syscall(SYS_fchmod, fd, mode)) }
int utimensat(int dir, const char *path, const struct timespec times[2], int flags) {
    COUNTED(int, "utime", dir, path, syscall(SYS_utimensat, dir, path, times, flags))
}
int futimens(int fd, const struct timespec times[2]) { COUNTED(int, "utime", fd, NULL, syscall(SYS_utimensat, fd, NULL, times, 0)) }
