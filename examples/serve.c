/* Asks an exported model once through TensorFlow's C API, and prints what it answers.

   serve MODEL in TENSOR TYPE SHAPE FILE ... out TENSOR ...

   Tensors have the names that `saved_model_cli show --dir MODEL --all` prints, such as
   serving_default_text:0. TYPE is float, int32, int64, bool or string; SHAPE is 1x16000, or - for
   a number alone. FILE holds the values as they lie in memory; that of a string, its bytes.

   How to compile it: docs/deployment.md. Nothing is freed before the end: the process is short. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

enum { MOST = 64 }; /* tensors in, tensors out, and dimensions of one of them */

static TF_Status *status;

static void fail(const char *what, const char *why) {
  fprintf(stderr, "serve: %s: %s\n", what, why);
  exit(1);
}

static void check(const char *what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static TF_DataType type_of(const char *name) {
  const char *names[] = {"float", "int32", "int64", "bool", "string"};
  const TF_DataType types[] = {TF_FLOAT, TF_INT32, TF_INT64, TF_BOOL, TF_STRING};
  for (int i = 0; i < 5; i++)
    if (strcmp(name, names[i]) == 0) return types[i];
  fail(name, "not one of float, int32, int64, bool and string");
  return TF_FLOAT;
}

/* "name:index" to a tensor of the graph; the index is 0 if it is not said. */
static TF_Output find(TF_Graph *graph, char *name) {
  char *colon = strchr(name, ':');
  int index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = '\0';
  TF_Output found = {TF_GraphOperationByName(graph, name), index};
  if (!found.oper) fail(name, "no such tensor in the model");
  return found;
}

static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) fail(path, "can't be opened");
  long end = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
  if (end < 0) fail(path, "expected a file, not a pipe");
  *size = (size_t)end;
  rewind(file);
  char *bytes = malloc(*size + 1);
  if (!bytes || fread(bytes, 1, *size, file) != *size) fail(path, "can't be read");
  fclose(file);
  return bytes;
}

static TF_Tensor *tensor_from(const char *type_name, const char *shape, const char *path) {
  TF_DataType type = type_of(type_name);
  int64_t dims[MOST], count = 1;
  int rank = 0;
  for (const char *at = shape; *at && *at != '-' && rank < MOST; rank++) {
    char *end;
    count *= dims[rank] = strtoll(at, &end, 10);
    if (end == at) fail(shape, "not a shape such as 1x16000");
    at = *end ? end + 1 : end;
  }
  size_t size, room = count * TF_DataTypeSize(type);
  char *bytes = read_file(path, &size);
  if (type == TF_STRING) { /* one string, of any length: TensorFlow has a type of its own for it */
    if (count != 1) fail(shape, "a string comes alone: 1 or -");
    TF_Tensor *tensor = TF_AllocateTensor(type, dims, rank, sizeof(TF_TString));
    TF_StringInit(TF_TensorData(tensor));
    TF_StringCopy(TF_TensorData(tensor), bytes, size);
    return tensor;
  }
  if (size != room) fail(path, "has not as many bytes as the shape needs");
  TF_Tensor *tensor = TF_AllocateTensor(type, dims, rank, room);
  if (room) memcpy(TF_TensorData(tensor), bytes, room);
  return tensor;
}

static void print(const char *name, const TF_Tensor *tensor) {
  printf("%s [", name);
  for (int i = 0; i < TF_NumDims(tensor); i++)
    printf("%s%lld", i ? " " : "", (long long)TF_Dim(tensor, i));
  printf("]");
  const void *data = TF_TensorData(tensor);
  for (int64_t i = 0; i < TF_TensorElementCount(tensor); i++) switch (TF_TensorType(tensor)) {
    case TF_FLOAT: printf(" %.9g", ((const float *)data)[i]); break;
    case TF_INT32: printf(" %d", ((const int32_t *)data)[i]); break;
    case TF_INT64: printf(" %lld", (long long)((const int64_t *)data)[i]); break;
    case TF_STRING: {
      const TF_TString *text = (const TF_TString *)data + i;
      printf(" %.*s", (int)TF_StringGetSize(text), TF_StringGetDataPointer(text));
      break;
    }
    default: fail(name, "of a type that is not printed here");
  }
  printf("\n");
}

int main(int argc, char **argv) {
  if (argc < 4) fail("usage", "serve MODEL in TENSOR TYPE SHAPE FILE ... out TENSOR ...");
  status = TF_NewStatus();

  /* The model: graph, variables and tables, ready to run. */
  TF_Graph *graph = TF_NewGraph();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(TF_NewSessionOptions(), NULL, argv[1], tags,
                                                     1, graph, NULL, status);
  check(argv[1]);

  /* What goes in, and what is to come out. */
  TF_Output in[MOST], out[MOST];
  TF_Tensor *given[MOST], *said[MOST];
  char *names[MOST];
  int ins = 0, outs = 0;
  for (int i = 2; i < argc;) {
    if (strcmp(argv[i], "in") == 0 && i + 4 < argc && ins < MOST) {
      in[ins] = find(graph, argv[i + 1]);
      given[ins++] = tensor_from(argv[i + 2], argv[i + 3], argv[i + 4]);
      i += 5;
    } else if (strcmp(argv[i], "out") == 0 && i + 1 < argc && outs < MOST) {
      names[outs] = strdup(argv[i + 1]);
      out[outs++] = find(graph, argv[i + 1]);
      i += 2;
    } else {
      fail(argv[i], "expected: in TENSOR TYPE SHAPE FILE, or: out TENSOR");
    }
  }

  TF_SessionRun(session, NULL, in, given, ins, out, said, outs, NULL, 0, NULL, status);
  check("run");
  for (int i = 0; i < outs; i++) print(names[i], said[i]);
  return 0;
}
