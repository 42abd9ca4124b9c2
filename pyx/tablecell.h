/* A one-item list as the cell that readers take a ring's table from, without a lock. */
#ifndef RL_TABLECELL_H
#define RL_TABLECELL_H

#include <Python.h>

/* A new reference to the cell's table. */
static inline PyObject *rl_cell_take(PyObject *cell) {
#ifdef Py_GIL_DISABLED
    return PyList_GetItemRef(cell, 0);
#else
    PyObject *table = PyList_GET_ITEM(cell, 0);
    Py_INCREF(table);
    return table;
#endif
}

/* Does the caller hold the only reference?  Without a GIL nobody can tell cheaply: say no. */
static inline int rl_sole_owner(PyObject *object) {
#ifdef Py_GIL_DISABLED
    (void)object;
    return 0;
#else
    return Py_REFCNT(object) == 1;
#endif
}

#endif
