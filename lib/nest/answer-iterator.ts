/** The values of an Observable, one at a time. */
import type { Observable, Subscription } from 'rxjs';

interface Reading<T> {
  resolve: (result: IteratorResult<T, undefined>) => void;
  reject: (error: unknown) => void;
}

/** Subscribes when the first value is asked for; `return()` unsubscribes. Values that come before they are asked for wait. */
export class AnswerIterator<T> implements AsyncIterator<T, undefined> {
  private readonly arrived: T[] = [];
  private readings: Reading<T>[] = [];
  private subscription: Subscription | undefined;
  private ended = false;
  private failure: { readonly error: unknown } | undefined;

  constructor(private readonly source: Observable<T>) {}

  next(): Promise<IteratorResult<T, undefined>> {
    this.subscription ??= this.subscribe();
    if (this.arrived.length > 0) return Promise.resolve({ done: false, value: this.arrived.shift() as T });
    if (this.failure !== undefined) {
      const { error } = this.failure;
      this.failure = undefined;
      return Promise.reject(error);
    }
    if (this.ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.readings.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.subscription?.unsubscribe();
    this.arrived.length = 0;
    this.failure = undefined;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  private subscribe(): Subscription {
    return this.source.subscribe({
      next: (value) => {
        const reading = this.readings.shift();
        if (reading === undefined) this.arrived.push(value);
        else reading.resolve({ done: false, value });
      },
      error: (error: unknown) => {
        const reading = this.readings.shift();
        if (reading === undefined) this.failure = { error };
        else reading.reject(error);
        this.end();
      },
      complete: () => this.end(),
    });
  }

  private end(): void {
    this.ended = true;
    const readings = this.readings;
    this.readings = [];
    for (const reading of readings) reading.resolve({ done: true, value: undefined });
  }
}
