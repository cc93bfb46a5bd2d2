/** What `npm run bench -- --micro` understands; apart from its code, which loads parts of the library. */
export const MICRO_USAGE = `npm run bench -- --micro [OPTIONS]
  --filter TEXT   only the pieces whose name contains it
  --ms N          the least time for each piece (default: 400)
  --write         keep the results in bench/micro.json and put them into docs/benchmarks.md`;
