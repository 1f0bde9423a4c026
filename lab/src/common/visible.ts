/** Whether an element takes any room on the page: not in a hidden tab or a closed sidebar. */
export function isOnPage(element: Element | null): boolean {
  return element !== null && element.getClientRects().length > 0;
}
