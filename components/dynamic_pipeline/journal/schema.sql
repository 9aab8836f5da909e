-- The journal, version 2. Kept to what SQLite 3.31 knows. Its text is compared with what a file holds before
-- the file is trusted: a change here is a new version, with a step on the ladder in schema.py.
--
-- *_us are microseconds since the epoch, for people only: nothing is decided by them.

CREATE TABLE works(
  work INTEGER PRIMARY KEY,
  task BLOB NOT NULL CHECK(typeof(task) = 'blob' AND length(task) = 16),  -- the fingerprint
  parts TEXT NOT NULL,                       -- JSON: what the fingerprint was made of
  created_us INTEGER NOT NULL,
  is_pruned INTEGER NOT NULL DEFAULT 0 CHECK(is_pruned IN (0, 1)));  -- being removed: never resumed

CREATE INDEX works_by_task ON works(task);

CREATE TABLE runs(
  run INTEGER PRIMARY KEY,
  uuid TEXT NOT NULL UNIQUE,                 -- PIPELINE_RUN_ID of its children
  work INTEGER NOT NULL REFERENCES works,
  mode TEXT NOT NULL CHECK(mode IN ('run', 'resume', 'retry-failed')),
  started_us INTEGER NOT NULL,
  ended_us INTEGER,                          -- NULL: alive, or killed and not yet found out
  outcome TEXT CHECK(outcome IN ('ended', 'crashed')),
  exit_code INTEGER,
  succeeded INTEGER, failed INTEGER, held INTEGER, unfinished INTEGER,  -- as the run counted them
  host TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  pid INTEGER NOT NULL,
  config TEXT NOT NULL,                      -- JSON, without secrets
  input TEXT NOT NULL,                       -- for people
  -- How far the input was accepted: every record before this place is a job.
  mark_source INTEGER, mark_offset INTEGER, mark_line INTEGER, mark_digest BLOB,
  mark_records INTEGER NOT NULL DEFAULT 0);

CREATE INDEX runs_open ON runs(run) WHERE ended_us IS NULL;

CREATE TABLE jobs(
  job INTEGER PRIMARY KEY,                   -- work × 2^40 + number of the job within its work, from 1
  work INTEGER NOT NULL REFERENCES works,
  job_key BLOB NOT NULL CHECK(typeof(job_key) = 'blob' AND length(job_key) = 16),
  -- One letter, so that a change of state leaves the row's size alone and a long payload is not written again.
  state TEXT NOT NULL DEFAULT 'Q' CHECK(state IN ('Q', 'R', 'S', 'F', 'H')),
     -- queued, retrying, succeeded, failed, held; running is a queued or retrying one with an open attempt
  attempts INTEGER NOT NULL DEFAULT 0,       -- those that count against the retries
  interruptions INTEGER NOT NULL DEFAULT 0,  -- attempts that a crash of the whole process cut short
  alone INTEGER NOT NULL DEFAULT 0,          -- those of them during which nothing else ran
  source TEXT NOT NULL,
  line INTEGER NOT NULL,
  problem TEXT NOT NULL,                     -- why no command can be made of it; empty when one can
  format TEXT NOT NULL,
  fields TEXT,                               -- JSON; NULL where the payload says it all
  payload BLOB NOT NULL CHECK(typeof(payload) = 'blob'), accepted_us INTEGER);
  -- the record's bytes, whatever their encoding; accepted_us, since version 2, stands where ALTER TABLE puts it
-- No index on job_key: a page of it would be written again for every job (half of the time it takes to accept one). Who has
-- to find jobs by their keys sorts them first: see unmet in queries.sql.

CREATE INDEX jobs_open ON jobs(job) WHERE state IN ('Q', 'R');  -- shrinks as work gets done
CREATE INDEX jobs_lost ON jobs(job) WHERE state IN ('F', 'H');

CREATE TABLE attempts(
  job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
  number INTEGER NOT NULL CHECK(number >= 1),
  run INTEGER NOT NULL,
  worker TEXT NOT NULL,
  is_alone INTEGER NOT NULL CHECK(is_alone IN (0, 1)),
  started_us INTEGER NOT NULL,
  ended_us INTEGER,
  pid INTEGER, pid_start INTEGER,            -- of its process; the start in clock ticks since boot
  outcome TEXT CHECK(outcome IN ('succeeded', 'failed', 'timeout', 'interrupted')),  -- NULL: open
  exit_code INTEGER, signal INTEGER,
  error TEXT,
  result_chars INTEGER,                      -- length of the result, also when it was too long to keep
  result TEXT, output BLOB,                               -- JSON
  PRIMARY KEY(job, number, run)) WITHOUT ROWID;
-- output, since version 2: the end of what a failed command wrote, or of a call's traceback.

-- What the policy saw and decided: a row for each look that differs from the one before in its decision, or in the
-- numbers of jobs and workers. Since version 2.
CREATE TABLE decisions(
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  look INTEGER NOT NULL CHECK(look >= 1),    -- which one of the run; those left out were like the one before
  at_us INTEGER NOT NULL,
  workers INTEGER NOT NULL,                  -- that it decided for
  reason TEXT NOT NULL,
  -- What it saw, see scaling.Load.
  queued INTEGER NOT NULL, in_flight INTEGER NOT NULL, waiting INTEGER NOT NULL, allowed INTEGER NOT NULL,
  delayed INTEGER NOT NULL, clock_us INTEGER NOT NULL, busy_us INTEGER NOT NULL, started INTEGER NOT NULL,
  ended INTEGER NOT NULL, capacity INTEGER NOT NULL, overloads INTEGER NOT NULL,
  PRIMARY KEY(run, look)) WITHOUT ROWID;
