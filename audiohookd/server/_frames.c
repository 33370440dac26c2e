/* Whole binary WebSocket messages, cut out of what was read: the compiled twin of cut_in_python in frames.py, which
 * says what it does. Both are held to the same results by tests/server/test_frames.py. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <stdint.h>
#include <string.h>

enum { BINARY = 0x82, MASKED = 0x80, SHORT = 126, MASK = 4 };

/* Of the frame that `data` begins with: where its payload begins; 0 when it is not to be cut out, or not yet. */
static Py_ssize_t
payload_start(const unsigned char *data, Py_ssize_t available, Py_ssize_t *size)
{
    if (available < 2 + MASK || data[0] != BINARY || data[1] < MASKED)
        return 0;
    Py_ssize_t start = 2 + MASK;
    *size = data[1] - MASKED;
    if (*size >= SHORT) {
        start += 2;
        *size = *size == SHORT ? data[2] << 8 | data[3] : 0;
        if (*size < SHORT)
            return 0;
    }
    return start + *size <= available ? start : 0;
}

static void
unmask(unsigned char *to, const unsigned char *from, Py_ssize_t size, const unsigned char *mask)
{
    uint64_t key, word;
    memcpy(&key, mask, MASK);
    memcpy((unsigned char *)&key + MASK, mask, MASK);
    Py_ssize_t at = 0;
    for (; at + (Py_ssize_t)sizeof word <= size; at += sizeof word) {
        memcpy(&word, from + at, sizeof word);
        word ^= key;
        memcpy(to + at, &word, sizeof word);
    }
    for (; at < size; at++)
        to[at] = from[at] ^ mask[at % MASK];
}

static int
append_message(PyObject *messages, const unsigned char *payload, Py_ssize_t size)
{
    PyObject *message = PyBytes_FromStringAndSize(NULL, size);
    if (message == NULL)
        return -1;
    unmask((unsigned char *)PyBytes_AsString(message), payload, size, payload - MASK);
    int result = PyList_Append(messages, message);
    Py_DECREF(message);
    return result;
}

static PyObject *
cut(PyObject *Py_UNUSED(module), PyObject *data)
{
    char *bytes;
    Py_ssize_t end, at = 0, start, size;
    if (PyBytes_AsStringAndSize(data, &bytes, &end) < 0)
        return NULL;
    const unsigned char *first = (const unsigned char *)bytes;
    PyObject *messages = PyList_New(0);
    if (messages == NULL)
        return NULL;
    while ((start = payload_start(first + at, end - at, &size)) != 0) {
        if (append_message(messages, first + at + start, size) < 0) {
            Py_DECREF(messages);
            return NULL;
        }
        at += start + size;
    }
    return Py_BuildValue("(Nn)", messages, at);
}

static PyMethodDef methods[] = {
    {"cut", cut, METH_O, "See audiohookd.server.frames."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_frames", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__frames(void)
{
    return PyModuleDef_Init(&module);
}
