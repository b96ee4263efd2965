// What went wrong, for people: a title that says what, and a detail that says what to do.

export class Problem extends Error {
  /**
   * @param {string} title one line
   * @param {string} detail what was got, and what to do
   */
  constructor(title, detail) {
    super(`${title}: ${detail}`);
    [this.title, this.detail] = [title, detail];
  }
}
