/* Sends the audio of many calls: the compiled twin of talk_in_python in audio_sender.py, which describes it. tests/bench
 * checks that both have the same results. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum { SILENT = -1, BLOCKED = -2 };

typedef struct {
    PyObject *frames;
    Py_ssize_t variants;
    Py_buffer phases, files, turns, late;
    Py_ssize_t slots, slot;
    double begun, until, tick;
    int epoll;
} Speech;

static double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void
sleep_until(double at)
{
    struct timespec end = {.tv_sec = (time_t)at, .tv_nsec = (long)(1e9 * (at - (double)(time_t)at))};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
}

static int
is_anything_readable(int epoll)
{
    struct epoll_event event;
    return epoll_wait(epoll, &event, 1, 0) > 0;
}

/* Sends `data`. Returns how many bytes the socket accepted, or a negative errno. */
static Py_ssize_t
taken_by(int file, const char *data, Py_ssize_t size)
{
    Py_ssize_t taken = file == BLOCKED ? 0 : send(file, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken >= 0)
        return taken;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
}

static void
count_late(const Speech *speech, double seconds)
{
    Py_ssize_t milliseconds = (Py_ssize_t)(1000 * seconds), last = speech->late.len / (Py_ssize_t)sizeof(long long) - 1;
    ((long long *)speech->late.buf)[milliseconds < last ? milliseconds : last]++;
}

/* Sends the next frame of the slot that is due. Adds unsent bytes to `left`. Returns 0, or -1 with an exception. */
static int
say(const Speech *speech, double now, PyObject *left)
{
    char *data;
    Py_ssize_t size, slot = speech->slot;
    int file = ((const int *)speech->files.buf)[slot], *turn = (int *)speech->turns.buf + slot;
    if (file == SILENT)
        return 0;
    PyObject *frame = PyTuple_GetItem(speech->frames, (*turn)++ % speech->variants);
    if (frame == NULL || PyBytes_AsStringAndSize(frame, &data, &size) < 0)
        return -1;
    count_late(speech, now - speech->begun - ((const double *)speech->phases.buf)[slot]);
    Py_ssize_t taken = taken_by(file, data, size);
    if (taken == size)
        return 0;
    PyObject *rest = Py_BuildValue("(nOn)", slot, frame, taken);
    int result = rest == NULL ? -1 : PyList_Append(left, rest);
    Py_XDECREF(rest);
    return result;
}

/* Sends due frames until there is other work. Returns 0, or -1 with an exception. */
static int
go_on(Speech *speech, PyObject *left)
{
    const double *phases = speech->phases.buf;
    do {
        double now = seconds();
        for (; speech->slot < speech->slots && speech->begun + phases[speech->slot] <= now; speech->slot++)
            if (say(speech, now, left) < 0)
                return -1;
        if (speech->slot == speech->slots || PyList_Size(left) > 0)
            return 0;
        sleep_until(now + speech->tick);
        if (PyErr_CheckSignals() < 0)
            return -1;
    } while (seconds() < speech->until && !is_anything_readable(speech->epoll));
    return 0;
}

static PyObject *
talk_on(Speech *speech)
{
    speech->variants = PyTuple_Size(speech->frames);
    speech->slots = speech->phases.len / (Py_ssize_t)sizeof(double);
    if (speech->variants < 0)
        return NULL;
    Py_ssize_t places = speech->slots * (Py_ssize_t)sizeof(int);
    if (speech->variants == 0 || speech->slot < 0 || speech->late.len < (Py_ssize_t)sizeof(long long)
        || speech->files.len != places || speech->turns.len != places)
        return PyErr_Format(PyExc_ValueError, "the arrays of voices have different lengths");
    PyObject *left = PyList_New(0);
    if (left != NULL && go_on(speech, left) < 0)
        Py_CLEAR(left);
    return left == NULL ? NULL : Py_BuildValue("(nN)", speech->slot, left);
}

static PyObject *
talk(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Speech speech;
    if (!PyArg_ParseTuple(arguments, "(Oy*w*w*w*)ndddi", &speech.frames, &speech.phases, &speech.files, &speech.turns,
                          &speech.late, &speech.slot, &speech.begun, &speech.until, &speech.tick, &speech.epoll))
        return NULL;
    PyObject *result = talk_on(&speech);
    PyBuffer_Release(&speech.phases);
    PyBuffer_Release(&speech.files);
    PyBuffer_Release(&speech.turns);
    PyBuffer_Release(&speech.late);
    return result;
}

static PyMethodDef methods[] = {
    {"talk", talk, METH_VARARGS, "See bench.generator.audio_sender."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_speech", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__speech(void)
{
    return PyModuleDef_Init(&module);
}
