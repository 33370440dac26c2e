/* Parses whole WebSocket messages. Compiled versions of parse_binary_messages_in_python and
 * parse_text_message_in_python in frames.py and of recv_messages_in_python in hearing.py, which document them.
 * The tests in tests/websocket check that both versions return the same results. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum { TEXT = 0x81, BINARY = 0x82, MASKED = 0x80, SHORT = 126, MASK = 4, CUT_LIMIT = 16, READ_SIZE = 4096 };

/* Returns the offset of the payload of the frame at the start of `data`; 0 if the frame is incomplete, is not accepted
 * here, or does not begin with the byte `first`. */
static Py_ssize_t
payload_start(const unsigned char *data, Py_ssize_t available, unsigned char first, Py_ssize_t *size)
{
    if (available < 2 + MASK || data[0] != first || data[1] < MASKED)
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

static PyObject *
message_of(const unsigned char *payload, Py_ssize_t size)
{
    PyObject *message = PyBytes_FromStringAndSize(NULL, size);
    if (message != NULL)
        unmask((unsigned char *)PyBytes_AsString(message), payload, size, payload - MASK);
    return message;
}

static int
append_message(PyObject *messages, const unsigned char *payload, Py_ssize_t size)
{
    PyObject *message = message_of(payload, size);
    if (message == NULL)
        return -1;
    int result = PyList_Append(messages, message);
    Py_DECREF(message);
    return result;
}

/* Parses at most CUT_LIMIT messages at the start of the first `end` bytes of `data`; sets `at` to the offset of the
 * remaining bytes. */
static PyObject *
cut_out(const unsigned char *data, Py_ssize_t end, Py_ssize_t *at)
{
    Py_ssize_t start, size;
    PyObject *messages = PyList_New(0);
    *at = 0;
    int left = CUT_LIMIT;
    while (messages != NULL && left-- > 0 && (start = payload_start(data + *at, end - *at, BINARY, &size)) != 0) {
        if (append_message(messages, data + *at + start, size) < 0)
            Py_CLEAR(messages);
        *at += start + size;
    }
    return messages;
}

static PyObject *
parse_binary_messages(PyObject *Py_UNUSED(module), PyObject *data)
{
    char *bytes;
    Py_ssize_t end, at;
    if (PyBytes_AsStringAndSize(data, &bytes, &end) < 0)
        return NULL;
    PyObject *messages = cut_out((const unsigned char *)bytes, end, &at);
    return messages == NULL ? NULL : Py_BuildValue("(Nn)", messages, at);
}

static PyObject *
parse_text_message(PyObject *Py_UNUSED(module), PyObject *frame)
{
    char *bytes;
    Py_ssize_t end, size;
    if (PyBytes_AsStringAndSize(frame, &bytes, &end) < 0)
        return NULL;
    Py_ssize_t start = payload_start((const unsigned char *)bytes, end, TEXT, &size);
    if (start == 0 || start + size != end)
        Py_RETURN_NONE;
    PyObject *message = message_of((const unsigned char *)bytes + start, size);
    if (message == NULL)
        return NULL;
    PyObject *text = PyUnicode_DecodeUTF8(PyBytes_AsString(message), size, NULL);
    if (text != NULL) {
        Py_DECREF(text);
        return message;
    }
    Py_DECREF(message);
    if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        return NULL;
    PyErr_Clear();
    Py_RETURN_NONE;
}

static PyObject *
recv_messages(PyObject *Py_UNUSED(module), PyObject *file)
{
    char buffer[READ_SIZE];
    Py_ssize_t at;
    long number = PyLong_AsLong(file);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    /* Keeps the GIL: the call does not block, and releasing the GIL would cost more than the call. */
    Py_ssize_t end = recv((int)number, buffer, READ_SIZE, MSG_DONTWAIT);
    if (end <= 0)
        Py_RETURN_NONE;
    PyObject *messages = cut_out((const unsigned char *)buffer, end, &at);
    return messages == NULL ? NULL : Py_BuildValue("(Ny#)", messages, buffer + at, end - at);
}

static PyMethodDef methods[] = {
    {"parse_binary_messages", parse_binary_messages, METH_O, "See audiohookd.websocket.fastpath.frames."},
    {"parse_text_message", parse_text_message, METH_O, "See audiohookd.websocket.fastpath.frames."},
    {"recv_messages", recv_messages, METH_O, "See audiohookd.websocket.fastpath.hearing."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_frames", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__frames(void)
{
    return PyModuleDef_Init(&module);
}
