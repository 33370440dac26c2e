/* Frames of audio into the sockets of many calls: the compiled twin of say_in_python in speech.py, which says what it
 * does. tests/bench holds both to the same results. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <errno.h>
#include <sys/socket.h>

enum { SILENT = -1, CLOGGED = -2 };

typedef struct {
    PyObject *frames;
    Py_ssize_t variants;
    int *files, *turns;
} Speech;

/* What a socket takes of `data`, in bytes; a fault as its number, negative. */
static Py_ssize_t
taken_by(int file, const char *data, Py_ssize_t size)
{
    Py_ssize_t taken = file == CLOGGED ? 0 : send(file, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken >= 0)
        return taken;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
}

/* The next frame of one member; what was not taken goes to `left`. 0, or -1 with an exception. */
static int
say_one(const Speech *speech, int member, PyObject *left)
{
    char *data;
    Py_ssize_t size;
    PyObject *frame = PyTuple_GetItem(speech->frames, speech->turns[member]++ % speech->variants);
    if (frame == NULL || PyBytes_AsStringAndSize(frame, &data, &size) < 0)
        return -1;
    Py_ssize_t taken = taken_by(speech->files[member], data, size);
    if (taken == size)
        return 0;
    PyObject *rest = Py_BuildValue("(iOn)", member, frame, taken);
    int result = rest == NULL ? -1 : PyList_Append(left, rest);
    Py_XDECREF(rest);
    return result;
}

static PyObject *
say_all(const Speech *speech, const int *members, Py_ssize_t count)
{
    Py_ssize_t said = 0;
    PyObject *left = PyList_New(0);
    for (Py_ssize_t at = 0; left != NULL && at < count; at++) {
        if (speech->files[members[at]] == SILENT)
            continue;
        said++;
        if (say_one(speech, members[at], left) < 0)
            Py_CLEAR(left);
    }
    return left == NULL ? NULL : Py_BuildValue("(nN)", said, left);
}

static PyObject *
say(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Speech speech;
    Py_buffer members, files, turns;
    Py_ssize_t start, end;
    if (!PyArg_ParseTuple(arguments, "Oy*nnw*w*", &speech.frames, &members, &start, &end, &files, &turns))
        return NULL;
    speech.variants = PyTuple_Size(speech.frames);
    speech.files = files.buf;
    speech.turns = turns.buf;
    PyObject *result = NULL;
    if (speech.variants == 0)
        PyErr_SetString(PyExc_ValueError, "no frames");
    else if (speech.variants > 0)
        result = say_all(&speech, (const int *)members.buf + start, end - start);
    PyBuffer_Release(&members);
    PyBuffer_Release(&files);
    PyBuffer_Release(&turns);
    return result;
}

static PyMethodDef methods[] = {
    {"say", say, METH_VARARGS, "See bench.generator.speech."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_speech", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__speech(void)
{
    return PyModuleDef_Init(&module);
}
