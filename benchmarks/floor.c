/*
 * The floor in C: libgearman's client and worker, with their default options.
 *
 *   floor worker PORT
 *   floor mark PORT
 *   floor round_trip PORT SIZE COUNT    prints the nanoseconds that each call takes
 *   floor submit|bulk PORT SIZE COUNT   prints the nanoseconds in all; in bulk 1,000 at a time
 */

#include <libgearman/gearman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM_UP = 50, BULK = 1000 };

static long long now(void)
{
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void fail(const char *what, const char *why)
{
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void *noop(gearman_job_st *job, void *context, size_t *size, gearman_return_t *outcome)
{
  (void)context;
  if (gearman_job_workload_size(job) == 4 && memcmp(gearman_job_workload(job), "mark", 4) == 0) {
    FILE *file = fopen(getenv("BENCHMARK_MARKS"), "a");
    fprintf(file, "%.9f\n", now() / 1e9);
    fclose(file);
  }
  *size = 0;
  *outcome = GEARMAN_SUCCESS;
  return NULL;
}

static void *echo(gearman_job_st *job, void *context, size_t *size, gearman_return_t *outcome)
{
  (void)context;
  *size = gearman_job_workload_size(job);
  *outcome = GEARMAN_SUCCESS;
  return memcpy(malloc(*size), gearman_job_workload(job), *size);
}

static void work(in_port_t port)
{
  gearman_worker_st *worker = gearman_worker_create(NULL);
  gearman_worker_add_server(worker, "127.0.0.1", port);
  gearman_worker_add_function(worker, "noop", 0, noop, NULL);
  gearman_worker_add_function(worker, "echo", 0, echo, NULL);
  while (gearman_worker_work(worker) == GEARMAN_SUCCESS)
    ;
  fail("worker", gearman_worker_error(worker));
}

static void call(gearman_client_st *client, const char *payload, size_t size)
{
  size_t received;
  gearman_return_t outcome;
  void *result = gearman_client_do(client, "echo", NULL, payload, size, &received, &outcome);
  if (outcome != GEARMAN_SUCCESS || received != size)
    fail("round trip", gearman_client_error(client));
  free(result);
}

static void submit(gearman_client_st *client, const char *payload, size_t size)
{
  gearman_job_handle_t handle;
  if (gearman_client_do_background(client, "noop", NULL, payload, size, handle) != GEARMAN_SUCCESS)
    fail("submit", gearman_client_error(client));
}

static void submit_many(gearman_client_st *client, const char *payload, size_t size, int count)
{
  gearman_return_t outcome;
  for (int place = 0; place < count; place++) {
    gearman_client_add_task_background(client, NULL, NULL, "noop", NULL, payload, size, &outcome);
    if (outcome != GEARMAN_SUCCESS)
      fail("bulk", gearman_client_error(client));
  }
  if (gearman_client_run_tasks(client) != GEARMAN_SUCCESS)
    fail("bulk", gearman_client_error(client));
  gearman_client_task_free_all(client);
}

int main(int argc, char **argv)
{
  if (argc < 3)
    fail("floor", "which part, and which port?");
  const char *part = argv[1];
  in_port_t port = (in_port_t)atoi(argv[2]);
  if (strcmp(part, "worker") == 0)
    work(port);

  gearman_client_st *client = gearman_client_create(NULL);
  gearman_client_add_server(client, "127.0.0.1", port);
  if (strcmp(part, "mark") == 0) {
    submit(client, "mark", 4);
    return 0;
  }

  size_t size = strtoul(argv[3], NULL, 10);
  int count = atoi(argv[4]);
  char *payload = malloc(size);
  memset(payload, 'x', size);
  if (strcmp(part, "round_trip") == 0) {
    for (int warm_up = 0; warm_up < WARM_UP; warm_up++)
      call(client, payload, size);
    for (int place = 0; place < count; place++) {
      long long started = now();
      call(client, payload, size);
      printf("%lld\n", now() - started);
    }
    return 0;
  }
  long long started = now();
  if (strcmp(part, "submit") == 0)
    for (int place = 0; place < count; place++)
      submit(client, payload, size);
  else
    for (int left = count; left > 0; left -= BULK)
      submit_many(client, payload, size, left < BULK ? left : BULK);
  printf("%lld\n", now() - started);
  return 0;
}
