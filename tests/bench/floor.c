/* The least that an MJPEG server must do, to compare with: one thread, one part a frame shared by all viewers, nothing
 * copied per viewer, the newest frame to each. No limits, no checks, no fairness: not a server to use.
 *
 *     floor HOST PORT FOLDER FPS
 *
 * Sends the JPEGs of FOLDER in turn, in the wire format of piapp's stream, whatever path is asked for.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, PICTURES_MAX = 1000, VIEWERS_MAX = 4096 };

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n"
                           "Cache-Control: no-store\r\nConnection: close\r\n\r\n--frame\r\n";
static const char TAIL[] = "\r\n--frame\r\n";

struct part { /* one frame as it goes over the wire */
    unsigned number; /* from 1 */
    int users; /* viewers that are sending it, and one while it is the newest */
    size_t bytes;
    char data[];
};

struct viewer {
    int fd, watching; /* watching: has sent its request */
    struct part *part; /* being sent; NULL when all of it is in the kernel */
    size_t sent;       /* bytes of it */
    unsigned taken;    /* number of the newest part that was begun */
};

static struct picture { char *data; size_t bytes; } pictures[PICTURES_MAX];
static int picture_count, poll;
static struct viewer *viewers[VIEWERS_MAX];
static int viewer_count;
static struct part *newest;

static void *need(void *memory)
{
    if (!memory) {
        perror("floor");
        exit(1);
    }
    return memory;
}

static void release(struct part *part)
{
    if (part && !--part->users)
        free(part);
}

static void load(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count && picture_count < PICTURES_MAX; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (!strstr(path, ".jpg") && !strstr(path, ".jpeg"))
            continue;
        FILE *file = need(fopen(path, "rb"));
        struct picture *p = &pictures[picture_count++];
        fseek(file, 0, SEEK_END);
        p->bytes = ftell(file);
        rewind(file);
        p->data = need(malloc(p->bytes));
        p->bytes = fread(p->data, 1, p->bytes, file);
        fclose(file);
    }
}

static void capture(unsigned number)
{
    const struct picture *p = &pictures[number % picture_count];
    struct part *part = need(malloc(sizeof *part + 200 + p->bytes + sizeof TAIL));
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    size_t n = sprintf(part->data, "Content-Type: image/jpeg\r\nContent-Length: %zu\r\nX-Timestamp: %lld.%06ld\r\n\r\n",
                       p->bytes, (long long)now.tv_sec, now.tv_nsec / 1000);
    memcpy(part->data + n, p->data, p->bytes);
    memcpy(part->data + n + p->bytes, TAIL, sizeof TAIL - 1);
    part->bytes = n + p->bytes + sizeof TAIL - 1;
    part->number = number;
    part->users = 1;
    release(newest);
    newest = part;
}

static void watch_for(struct viewer *v, int operation, unsigned events)
{
    struct epoll_event event = { .events = events, .data.ptr = v };
    epoll_ctl(poll, operation, v->fd, &event);
}

static void leave(struct viewer *v)
{
    release(v->part);
    close(v->fd);
    v->fd = -1;
    v->part = NULL;
}

/* Send the rest of v's part; where there is none, the newest. */
static void serve(struct viewer *v, int writable)
{
    if (!v->part) {
        if (!newest || v->taken == newest->number)
            return;
        v->part = newest;
        v->part->users++;
        v->taken = newest->number;
        v->sent = 0;
    }
    ssize_t sent = send(v->fd, v->part->data + v->sent, v->part->bytes - v->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        leave(v);
        return;
    }
    v->sent += sent > 0 ? sent : 0;
    int blocked = v->sent < v->part->bytes;
    if (blocked != writable)
        watch_for(v, EPOLL_CTL_MOD, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
    if (!blocked) {
        release(v->part);
        v->part = NULL;
        if (writable)
            serve(v, 0); /* a newer one has come meanwhile */
    }
}

static void welcome(int listener)
{
    int fd, yes = 1, place = 0;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        while (place < viewer_count && viewers[place]->fd >= 0)
            place++;
        if (place == VIEWERS_MAX) {
            close(fd);
            continue;
        }
        if (place == viewer_count)
            viewers[viewer_count++] = need(malloc(sizeof(struct viewer)));
        *viewers[place] = (struct viewer){ .fd = fd };
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        watch_for(viewers[place], EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void hear(struct viewer *v)
{
    char request[4096];
    ssize_t n = recv(v->fd, request, sizeof request, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        leave(v);
    } else if (n > 0 && !v->watching) {
        v->watching = send(v->fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL) > 0;
        v->taken = newest ? newest->number : 0; /* an old picture is nothing to begin with */
    }
}

static int listen_on(const char *host, const char *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
    inet_pton(AF_INET, host, &address.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 512))
        need(NULL);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc == 5)
        load(argv[3]);
    if (!picture_count) {
        fprintf(stderr, "use: floor HOST PORT FOLDER FPS, with JPEGs in FOLDER\n");
        return 1;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poll = epoll_create1(0);
    struct viewer listener = { .fd = listen_on(argv[1], argv[2]) };
    struct viewer timer = { .fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK) };
    struct timespec interval = { 0, 1000000000L / atoi(argv[4]) };
    if (atoi(argv[4]) == 1)
        interval = (struct timespec){ 1, 0 };
    struct itimerspec every = { interval, interval };
    timerfd_settime(timer.fd, 0, &every, NULL);
    watch_for(&listener, EPOLL_CTL_ADD, EPOLLIN);
    watch_for(&timer, EPOLL_CTL_ADD, EPOLLIN);
    for (unsigned frames = 0;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct viewer *v = events[i].data.ptr;
            long long ticks;
            if (v == &listener) {
                welcome(listener.fd);
            } else if (v == &timer) {
                if (read(timer.fd, &ticks, sizeof ticks) < 0)
                    continue;
                capture(++frames);
                for (int j = 0; j < viewer_count; j++)
                    if (viewers[j]->watching && viewers[j]->fd >= 0 && !viewers[j]->part)
                        serve(viewers[j], 0);
            } else if (v->fd >= 0) {
                if (events[i].events & ~EPOLLOUT)
                    hear(v);
                if (v->fd >= 0 && events[i].events & EPOLLOUT && v->part)
                    serve(v, 1);
            }
        }
    }
}
