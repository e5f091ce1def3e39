/* A V4L2 camera made of files, for machines without one: preload it into any program that reads cameras.
 *
 *   cc -shared -fPIC -o camera.so camera.c && FAKE_CAMERA_DEVICE=... LD_PRELOAD=./camera.so PROGRAM
 *
 *   FAKE_CAMERA_DEVICE   a file that stands for the device, by this path or by any link to it. Its first word says
 *                        how the camera behaves; while there is no such file, the camera is unplugged:
 *                          run       frames come
 *                          stall     no frames come
 *                          truncate  frames end in their middle
 *                          garbage   frames are 4096 bytes of 55
 *   FAKE_CAMERA_FRAMES   a folder of files, each the bytes of one frame, named by number and format: 000.MJPG,
 *                        001.MJPG, 000.YUYV ... They are shown in the order of their names, for ever. JPEGs must be
 *                        of the size below, or the camera lies, as some do.
 *   FAKE_CAMERA_FORMATS  what it offers, in this order, as in "MJPG YUYV"
 *   FAKE_CAMERA_SIZE     its one size, as in "640x480"
 *   FAKE_CAMERA_FPS      its highest rate, and what it does when not asked for less
 *
 * What it stands on: the device's file descriptor is an eventfd that counts finished frames, so that select, poll and
 * close work by themselves; the buffers are a memfd. Only open, close, ioctl and mmap are taken from the C library.
 * A thread plays the hardware, as a UVC driver does it: every 1/fps it fills the oldest queued buffer, and drops the
 * frame when there is none.
 *
 * Its controls are those of a usual webcam, with some oddities that there are, and are like new after unplugging.
 * Only brightness changes the picture, and that of raw YUYV; contrast and the like are just numbers.
 *
 * Left out: blocking reads (VIDIOC_DQBUF never waits), USERPTR, a second streaming program, controls by VIDIOC_..._EXT_...
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_BUFFERS = 32, MAX_FORMATS = 8, MAX_FDS = 1024 };

struct format {
    uint32_t fourcc;
    glob_t frames; /* the files' names */
};

struct control {
    struct v4l2_queryctrl says;
    const char *menu[5]; /* NULL: left out */
    int32_t highest;     /* above it the camera does not answer; 0: no such value */
    int32_t value;
};

struct fifo {
    uint8_t items[256], first, end; /* first and end wrap by themselves */
};

/* The camera as the environment describes it; constant once set up. */
static const char *device;
static struct format formats[MAX_FORMATS];
static uint32_t format_count, width, height, highest_fps, buffer_size;

/* The state of the one device; `lock` guards all of it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum { NOT_OURS, OURS, DEAD } fds[MAX_FDS]; /* dead: was open when the camera was unplugged */
static int owner = -1;                             /* the fd that has the buffers; others get EBUSY */
static struct format *format = formats;
static uint32_t fps;
static int memory_fd = -1;
static uint8_t *memory;
static struct v4l2_buffer buffers[MAX_BUFFERS];
static uint32_t buffer_count;
static struct fifo queued, done;
static bool streaming;
static pthread_t hardware;

#define CONTROL(number, kind, label, ...) .says = {.id = number, .type = V4L2_CTRL_TYPE_##kind, .name = label, __VA_ARGS__}
#define RANGE(low, high, by, usual) .minimum = low, .maximum = high, .step = by, .default_value = usual
#define BUTTON_FLAGS (V4L2_CTRL_FLAG_WRITE_ONLY | V4L2_CTRL_FLAG_EXECUTE_ON_WRITE)

/* In the order of their ids. */
static struct control controls[] = {
    {CONTROL(V4L2_CID_USER_CLASS, CTRL_CLASS, "User Controls", .flags = V4L2_CTRL_FLAG_READ_ONLY)},
    {CONTROL(V4L2_CID_BRIGHTNESS, INTEGER, "Brightness", RANGE(-64, 64, 1, 0))},
    {CONTROL(V4L2_CID_CONTRAST, INTEGER, "Contrast", RANGE(0, 95, 10, 50))},
    {CONTROL(V4L2_CID_SATURATION, INTEGER, "Saturation", RANGE(0, 100, 1, 50), .flags = V4L2_CTRL_FLAG_DISABLED)},
    {CONTROL(V4L2_CID_AUDIO_VOLUME, INTEGER, "Volume", RANGE(0, 100, 1, 50))},
    {CONTROL(V4L2_CID_AUTO_WHITE_BALANCE, BOOLEAN, "White Balance, Automatic", RANGE(0, 1, 1, 1))},
    {CONTROL(V4L2_CID_DO_WHITE_BALANCE, BUTTON, "Do White Balance", .flags = BUTTON_FLAGS)},
    {CONTROL(V4L2_CID_GAMMA, INTEGER, "Gamma", RANGE(100, 100, 1, 100))},
    {CONTROL(V4L2_CID_GAIN, INTEGER, "Gain", RANGE(0, 255, 1, 300)), .highest = 200, .value = 10},
    {CONTROL(V4L2_CID_POWER_LINE_FREQUENCY, MENU, "Power Line Frequency", RANGE(0, 2, 1, 1)),
     .menu = {"Disabled", "50 Hz", "60 Hz"}},
    {CONTROL(V4L2_CID_WHITE_BALANCE_TEMPERATURE, INTEGER, "White Balance Temperature", RANGE(2800, 6500, 10, 4600))},
    {CONTROL(V4L2_CID_SHARPNESS, INTEGER, "Sharpness", RANGE(0, 7, 1, 2)), .highest = -1},
    {CONTROL(V4L2_CID_ROTATE, INTEGER, "Rotate", RANGE(0, 270, 90, 0), .flags = V4L2_CTRL_FLAG_MODIFY_LAYOUT)},
    {CONTROL(0x0098f000, INTEGER, "Contrast!", RANGE(0, 10, 0, 5))}, /* a name twice, no step */
    {CONTROL(V4L2_CID_MPEG_VIDEO_BITRATE, INTEGER, "Video Bitrate", RANGE(0, 100, 1, 50))},
    {CONTROL(V4L2_CID_CAMERA_CLASS, CTRL_CLASS, "Camera Controls", .flags = V4L2_CTRL_FLAG_READ_ONLY)},
    {CONTROL(V4L2_CID_EXPOSURE_AUTO, MENU, "Auto Exposure", RANGE(0, 3, 1, 3)),
     .menu = {NULL, "Manual Mode", NULL, "Aperture Priority Mode"}},
    {CONTROL(V4L2_CID_EXPOSURE_ABSOLUTE, INTEGER, "Exposure Time, Absolute", RANGE(3, 2047, 1, 250))},
    {CONTROL(V4L2_CID_PAN_RELATIVE, INTEGER, "Pan, Relative", RANGE(-1, 1, 1, 0), .flags = V4L2_CTRL_FLAG_WRITE_ONLY)},
    {CONTROL(V4L2_CID_AUTO_EXPOSURE_BIAS, INTEGER_MENU, "Auto Exposure, Bias", RANGE(0, 2, 1, 1)),
     .menu = {"-1000", "0", "1000"}},
};
enum { CONTROLS = sizeof controls / sizeof *controls };

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_ioctl)(int, unsigned long, ...);
static void *(*real_mmap)(void *, size_t, int, int, int, off_t);

static void reset_controls(void);

static int failed(int error)
{
    errno = error;
    return -1;
}

__attribute__((constructor)) static void set_up(void)
{
    const char *folder = getenv("FAKE_CAMERA_FRAMES"), *names = getenv("FAKE_CAMERA_FORMATS");
    const char *size = getenv("FAKE_CAMERA_SIZE"), *rate = getenv("FAKE_CAMERA_FPS");
    char name[5], pattern[4096];
    int used;

    if (real_open) /* another library's constructor has opened a file before ours ran */
        return;
    real_open = dlsym(RTLD_NEXT, "open");
    real_close = dlsym(RTLD_NEXT, "close");
    real_ioctl = dlsym(RTLD_NEXT, "ioctl");
    real_mmap = dlsym(RTLD_NEXT, "mmap");
    if (!folder || !names || !size || !rate || sscanf(size, "%ux%u", &width, &height) != 2)
        return;
    highest_fps = atoi(rate);
    buffer_size = (width * height * 3 + 4095) / 4096 * 4096;
    while (format_count < MAX_FORMATS && sscanf(names, "%4s%n", name, &used) == 1) {
        struct format *f = &formats[format_count++];
        f->fourcc = v4l2_fourcc(name[0], name[1], name[2], name[3]);
        snprintf(pattern, sizeof pattern, "%s/*.%s", folder, name);
        glob(pattern, 0, NULL, &f->frames);
        names += used;
    }
    reset_controls();
    device = getenv("FAKE_CAMERA_DEVICE"); /* last: from here on its open() is ours */
}

/* --- how the camera behaves; all with the lock held --- */

/* All of a file, but no more than `size` bytes of it; -1 when there is no such file. */
static ssize_t read_file(const char *path, void *to, size_t size)
{
    int fd = real_open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, to, size);
    if (fd >= 0)
        real_close(fd);
    return got;
}

static bool behaves(const char *word)
{
    char text[16] = "";
    return read_file(device, text, sizeof text) > 0 && strncmp(text, word, strlen(word)) == 0;
}

static struct control *control_of(uint32_t id)
{
    for (int i = 0; i < CONTROLS; i++)
        if (controls[i].says.id == id)
            return &controls[i];
    return NULL;
}

/* Times and temperatures have an effect only while nothing automatic chooses them. */
static void free_or_bind_controls(void)
{
    static const struct { uint32_t automatic; int32_t off; uint32_t bound; } pairs[] = {
        {V4L2_CID_AUTO_WHITE_BALANCE, 0, V4L2_CID_WHITE_BALANCE_TEMPERATURE},
        {V4L2_CID_EXPOSURE_AUTO, V4L2_EXPOSURE_MANUAL, V4L2_CID_EXPOSURE_ABSOLUTE},
    };
    for (int i = 0; i < 2; i++) {
        bool is_free = control_of(pairs[i].automatic)->value == pairs[i].off;
        control_of(pairs[i].bound)->says.flags = is_free ? 0 : V4L2_CTRL_FLAG_INACTIVE;
    }
}

static void reset_controls(void)
{
    for (int i = 0; i < CONTROLS; i++)
        if (controls[i].says.default_value <= controls[i].says.maximum)
            controls[i].value = controls[i].says.default_value;
    free_or_bind_controls();
}

/* All that have the camera open get ENODEV from the moment it is unplugged, and wake up to learn it. */
static void notice_unplugging(void)
{
    struct stat status;
    if (stat(device, &status) == 0)
        return;
    reset_controls();
    for (int fd = 0; fd < MAX_FDS; fd++) {
        if (fds[fd] == OURS) {
            fds[fd] = DEAD;
            eventfd_write(fd, 1);
        }
    }
}

/* What the camera itself does with the picture. */
static void shift_brightness(uint8_t *yuyv, uint32_t size)
{
    int by = control_of(V4L2_CID_BRIGHTNESS)->value;

    for (uint32_t i = 0; i < size && by != 0; i += 2)
        yuyv[i] = yuyv[i] + by < 0 ? 0 : yuyv[i] + by > 255 ? 255 : yuyv[i] + by;
}

static void fill(struct v4l2_buffer *buffer, uint32_t sequence)
{
    uint8_t *to = memory + buffer->index * buffer_size;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    buffer->timestamp = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    buffer->sequence = sequence;
    buffer->bytesused = read_file(format->frames.gl_pathv[sequence % format->frames.gl_pathc], to, buffer_size);
    if (format->fourcc == V4L2_PIX_FMT_YUYV)
        shift_brightness(to, buffer->bytesused);
    if (behaves("truncate")) {
        buffer->bytesused /= 2;
    } else if (behaves("garbage")) {
        buffer->bytesused = 4096;
        memset(to, 0x55, 4096);
    }
}

static void *play_hardware(void *unused)
{
    struct timespec due;

    pthread_setname_np(pthread_self(), "fake camera");
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (uint32_t sequence = 0;; sequence++) {
        due.tv_nsec += 1000000000 / fps;
        due.tv_sec += due.tv_nsec / 1000000000;
        due.tv_nsec %= 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        pthread_mutex_lock(&lock);
        notice_unplugging();
        if (!streaming || fds[owner] == DEAD)
            break;
        if (queued.first != queued.end && format->frames.gl_pathc && !behaves("stall")) {
            uint8_t index = queued.items[queued.first++];
            fill(&buffers[index], sequence);
            done.items[done.end++] = index;
            eventfd_write(owner, 1);
        }
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_unlock(&lock);
    return unused;
}

/* --- ioctl; all with the lock held --- */

static int stop_streaming(void)
{
    eventfd_t count;

    if (streaming) {
        streaming = false;
        pthread_mutex_unlock(&lock);
        pthread_join(hardware, NULL);
        pthread_mutex_lock(&lock);
    }
    queued = done = (struct fifo){0};
    while (owner >= 0 && fds[owner] == OURS && eventfd_read(owner, &count) == 0)
        ;
    return 0;
}

static void free_buffers(void)
{
    stop_streaming();
    if (owner >= 0) {
        munmap(memory, buffer_size * buffer_count);
        real_close(memory_fd);
    }
    memory_fd = owner = -1;
    buffer_count = 0;
}

static int request_buffers(int fd, struct v4l2_requestbuffers *request)
{
    if (request->memory != V4L2_MEMORY_MMAP)
        return failed(EINVAL);
    if (owner >= 0 && owner != fd)
        return failed(EBUSY);
    free_buffers();
    if (request->count == 0)
        return 0;
    request->count = buffer_count = request->count < MAX_BUFFERS ? request->count : MAX_BUFFERS;
    memory_fd = memfd_create("fake camera", MFD_CLOEXEC);
    if (ftruncate(memory_fd, buffer_size * buffer_count) != 0)
        abort();
    memory = real_mmap(NULL, buffer_size * buffer_count, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    if (memory == MAP_FAILED)
        abort();
    owner = fd;
    for (uint32_t i = 0; i < buffer_count; i++) {
        buffers[i] = (struct v4l2_buffer){.index = i, .type = request->type, .memory = request->memory};
        buffers[i].flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC | V4L2_BUF_FLAG_MAPPED;
        buffers[i].field = V4L2_FIELD_NONE;
        buffers[i].length = buffer_size;
        buffers[i].m.offset = i * buffer_size;
    }
    return 0;
}

/* Takes a format that is offered; else everything stays as it is. The size is what it is. */
static int set_format(uint32_t wanted)
{
    if (owner >= 0)
        return failed(EBUSY);
    for (uint32_t i = 0; i < format_count; i++)
        if (formats[i].fourcc == wanted)
            format = &formats[i];
    return 0;
}

static int get_format(struct v4l2_pix_format *answer)
{
    *answer = (struct v4l2_pix_format){width, height, .pixelformat = format->fourcc, .field = V4L2_FIELD_NONE};
    answer->sizeimage = buffer_size;
    return 0;
}

static int set_rate(struct v4l2_captureparm *wanted)
{
    struct v4l2_fract interval = wanted->timeperframe;
    fps = interval.numerator ? interval.denominator / interval.numerator : highest_fps;
    fps = fps < 1 || fps > highest_fps ? highest_fps : fps;
    *wanted = (struct v4l2_captureparm){.capability = V4L2_CAP_TIMEPERFRAME, .timeperframe = {1, fps}};
    return 0;
}

static int describe_device(struct v4l2_capability *answer)
{
    *answer = (struct v4l2_capability){.driver = "uvcvideo", .card = "Fake Camera", .bus_info = "usb-fake-1"};
    answer->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
    answer->capabilities = answer->device_caps | V4L2_CAP_DEVICE_CAPS;
    return 0;
}

static int describe_format(struct v4l2_fmtdesc *answer)
{
    if (answer->index >= format_count)
        return failed(EINVAL);
    answer->pixelformat = formats[answer->index].fourcc;
    snprintf((char *)answer->description, sizeof answer->description, "Format %.4s", (char *)&answer->pixelformat);
    return 0;
}

static int describe_size(struct v4l2_frmsizeenum *answer)
{
    answer->type = V4L2_FRMSIZE_TYPE_DISCRETE;
    answer->discrete = (struct v4l2_frmsize_discrete){width, height};
    return answer->index == 0 ? 0 : failed(EINVAL);
}

static int describe_control(struct v4l2_queryctrl *answer)
{
    bool next = answer->id & V4L2_CTRL_FLAG_NEXT_CTRL;
    uint32_t id = answer->id & ~V4L2_CTRL_FLAG_NEXT_CTRL;

    for (int i = 0; i < CONTROLS; i++) {
        if (next ? controls[i].says.id > id : controls[i].says.id == id) {
            *answer = controls[i].says;
            return 0;
        }
    }
    return failed(EINVAL);
}

static int describe_choice(struct v4l2_querymenu *answer)
{
    struct control *control = control_of(answer->id);

    if (!control || answer->index >= 5 || !control->menu[answer->index])
        return failed(EINVAL);
    if (control->says.type == V4L2_CTRL_TYPE_INTEGER_MENU)
        answer->value = atoi(control->menu[answer->index]);
    else
        snprintf((char *)answer->name, sizeof answer->name, "%s", control->menu[answer->index]);
    return 0;
}

static int get_control(struct v4l2_control *wanted)
{
    struct control *control = control_of(wanted->id);

    if (!control)
        return failed(EINVAL);
    if (control->says.flags & V4L2_CTRL_FLAG_WRITE_ONLY)
        return failed(EACCES);
    if (control->highest < 0)
        return failed(EIO);
    wanted->value = control->value;
    return 0;
}

static int set_control(struct v4l2_control *wanted)
{
    struct control *control = control_of(wanted->id);

    if (!control)
        return failed(EINVAL);
    if (control->says.flags & (V4L2_CTRL_FLAG_READ_ONLY | V4L2_CTRL_FLAG_INACTIVE))
        return failed(EACCES);
    if (control->highest && wanted->value > control->highest)
        return failed(EIO);
    if (control->says.type == V4L2_CTRL_TYPE_MENU && !control->menu[wanted->value])
        return failed(EINVAL);
    if (wanted->id == V4L2_CID_DO_WHITE_BALANCE)
        control_of(V4L2_CID_WHITE_BALANCE_TEMPERATURE)->value = 5000;
    else if (wanted->value < control->says.minimum || wanted->value > control->says.maximum)
        return failed(ERANGE);
    control->value = wanted->value;
    free_or_bind_controls();
    return 0;
}

static int answer(int fd, uint32_t request, void *argument)
{
    struct v4l2_format *its_format = argument;
    struct v4l2_streamparm *its_rate = argument;
    struct v4l2_buffer *buffer = argument;
    eventfd_t one;

    notice_unplugging();
    if (fds[fd] == DEAD)
        return failed(ENODEV);
    switch (request) {
    case VIDIOC_QUERYCAP:
        return describe_device(argument);
    case VIDIOC_ENUM_FMT:
        return describe_format(argument);
    case VIDIOC_ENUM_FRAMESIZES:
        return describe_size(argument);
    case VIDIOC_G_FMT:
        return get_format(&its_format->fmt.pix);
    case VIDIOC_S_FMT:
        return set_format(its_format->fmt.pix.pixelformat) || get_format(&its_format->fmt.pix) ? -1 : 0;
    case VIDIOC_S_PARM:
        return set_rate(&its_rate->parm.capture);
    case VIDIOC_G_PARM:
        its_rate->parm.capture.timeperframe = (struct v4l2_fract){1, fps};
        return 0;
    case VIDIOC_REQBUFS:
        return request_buffers(fd, argument);
    case VIDIOC_QUERYCTRL:
        return describe_control(argument);
    case VIDIOC_QUERYMENU:
        return describe_choice(argument);
    case VIDIOC_G_CTRL:
        return get_control(argument);
    case VIDIOC_S_CTRL:
        return set_control(argument);
    }
    if (fd != owner)
        return failed(EINVAL);
    switch (request) {
    case VIDIOC_QUERYBUF:
        *buffer = buffers[buffer->index];
        return 0;
    case VIDIOC_QBUF:
        queued.items[queued.end++] = buffer->index;
        return 0;
    case VIDIOC_DQBUF:
        if (eventfd_read(fd, &one) != 0)
            return failed(EAGAIN);
        *buffer = buffers[done.items[done.first++]];
        return 0;
    case VIDIOC_STREAMON:
        streaming = pthread_create(&hardware, NULL, play_hardware, NULL) == 0;
        return streaming ? 0 : failed(EIO);
    case VIDIOC_STREAMOFF:
        return stop_streaming();
    }
    return failed(EINVAL);
}

/* --- what is taken from the C library --- */

static bool is_ours(int fd)
{
    set_up();
    return fd >= 0 && fd < MAX_FDS && fds[fd] != NOT_OURS;
}

/* O_NONBLOCK tells who wants the camera from who wants the word in the file. */
int open(const char *path, int flags, ...)
{
    struct stat here, camera;
    va_list rest;

    va_start(rest, flags);
    set_up();
    int fd = real_open(path, flags, flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0);
    va_end(rest);
    if (!(flags & O_NONBLOCK) || fd < 0 || !device || fstat(fd, &here) != 0 || stat(device, &camera) != 0)
        return fd;
    if (here.st_dev != camera.st_dev || here.st_ino != camera.st_ino)
        return fd;
    real_close(fd);
    fd = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_lock(&lock);
    fds[fd] = OURS;
    fps = fps ? fps : highest_fps;
    pthread_mutex_unlock(&lock);
    return fd;
}

int close(int fd)
{
    if (is_ours(fd)) {
        pthread_mutex_lock(&lock);
        if (fd == owner)
            free_buffers();
        fds[fd] = NOT_OURS;
        pthread_mutex_unlock(&lock);
    }
    return real_close(fd);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list rest;

    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (!is_ours(fd))
        return real_ioctl(fd, request, argument);
    pthread_mutex_lock(&lock);
    int result = answer(fd, request, argument);
    pthread_mutex_unlock(&lock);
    return result;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    return real_mmap(address, length, protection, flags, is_ours(fd) ? memory_fd : fd, offset);
}

/* Programs with large file support ask for these names. */
int open64(const char *, int, ...) __attribute__((alias("open")));
void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));
